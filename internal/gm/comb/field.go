package comb

import (
	"encoding/binary"
	"math/bits"
)

// element is a number modulo p in Montgomery form (times 2^256), four words, least first, always below p.
type element [4]uint64

// p = 2^256 - 2^224 - 2^96 + 2^64 - 1 (GB/T 32918.5). Its lowest word is -1, so a Montgomery step needs no multiplication.
const (
	p0 = 0xffffffffffffffff
	p1 = 0xffffffff00000000
	p2 = 0xffffffffffffffff
	p3 = 0xfffffffeffffffff
)

var (
	one     = element{0x0000000000000001, 0x00000000ffffffff, 0x0000000000000000, 0x0000000100000000} // 2^256 mod p
	rr      = element{0x0000000200000003, 0x00000002ffffffff, 0x0000000100000001, 0x0000000400000002} // 2^512 mod p
	pMinus2 = [4]uint64{p0 - 2, p1, p2, p3}
)

// words reads 32 big-endian bytes.
func words(b *[32]byte) [4]uint64 {
	return [4]uint64{binary.BigEndian.Uint64(b[24:]), binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[:])}
}

// less compares two numbers.
func less(x, y *[4]uint64) bool {
	_, b := bits.Sub64(x[0], y[0], 0)
	_, b = bits.Sub64(x[1], y[1], b)
	_, b = bits.Sub64(x[2], y[2], b)
	_, b = bits.Sub64(x[3], y[3], b)
	return b == 1
}

// montgomery brings a number below p into Montgomery form.
func montgomery(x [4]uint64) (z element) {
	v := element(x)
	z.mul(&v, &rr)
	return z
}

func (z *element) isZero() bool { return z[0]|z[1]|z[2]|z[3] == 0 }

// within takes p off once if t, with the carry c above it, is not below it.
func (z *element) within(t0, t1, t2, t3, c uint64) {
	s0, b := bits.Sub64(t0, p0, 0)
	s1, b := bits.Sub64(t1, p1, b)
	s2, b := bits.Sub64(t2, p2, b)
	s3, b := bits.Sub64(t3, p3, b)
	_, b = bits.Sub64(c, 0, b)
	keep := -b // all ones when t was below p
	z[0], z[1], z[2], z[3] = s0^(keep&(s0^t0)), s1^(keep&(s1^t1)), s2^(keep&(s2^t2)), s3^(keep&(s3^t3))
}

func (z *element) add(x, y *element) {
	t0, c := bits.Add64(x[0], y[0], 0)
	t1, c := bits.Add64(x[1], y[1], c)
	t2, c := bits.Add64(x[2], y[2], c)
	t3, c := bits.Add64(x[3], y[3], c)
	z.within(t0, t1, t2, t3, c)
}

func (z *element) sub(x, y *element) {
	t0, b := bits.Sub64(x[0], y[0], 0)
	t1, b := bits.Sub64(x[1], y[1], b)
	t2, b := bits.Sub64(x[2], y[2], b)
	t3, b := bits.Sub64(x[3], y[3], b)
	m := -b // p comes back when the difference was negative
	var c uint64
	z[0], c = bits.Add64(t0, m&p0, 0)
	z[1], c = bits.Add64(t1, m&p1, c)
	z[2], c = bits.Add64(t2, m&p2, c)
	z[3], _ = bits.Add64(t3, m&p3, c)
}

// mul sets z = x·y/2^256. What it calls is not inlined, so the long multiplication stands here row by row.
func (z *element) mul(x, y *element) {
	var c uint64
	y0, y1, y2, y3 := y[0], y[1], y[2], y[3]

	v := x[0]
	t1, t0 := bits.Mul64(v, y0)
	t2, l := bits.Mul64(v, y1)
	t1, c = bits.Add64(t1, l, 0)
	t3, l := bits.Mul64(v, y2)
	t2, c = bits.Add64(t2, l, c)
	t4, l := bits.Mul64(v, y3)
	t3, c = bits.Add64(t3, l, c)
	t4 += c

	v = x[1]
	h0, l0 := bits.Mul64(v, y0)
	h1, l1 := bits.Mul64(v, y1)
	h2, l2 := bits.Mul64(v, y2)
	t5, l3 := bits.Mul64(v, y3)
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	t5 += c
	t1, c = bits.Add64(t1, l0, 0)
	t2, c = bits.Add64(t2, l1, c)
	t3, c = bits.Add64(t3, l2, c)
	t4, c = bits.Add64(t4, l3, c)
	t5 += c

	v = x[2]
	h0, l0 = bits.Mul64(v, y0)
	h1, l1 = bits.Mul64(v, y1)
	h2, l2 = bits.Mul64(v, y2)
	t6, l3 := bits.Mul64(v, y3)
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	t6 += c
	t2, c = bits.Add64(t2, l0, 0)
	t3, c = bits.Add64(t3, l1, c)
	t4, c = bits.Add64(t4, l2, c)
	t5, c = bits.Add64(t5, l3, c)
	t6 += c

	v = x[3]
	h0, l0 = bits.Mul64(v, y0)
	h1, l1 = bits.Mul64(v, y1)
	h2, l2 = bits.Mul64(v, y2)
	t7, l3 := bits.Mul64(v, y3)
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	t7 += c
	t3, c = bits.Add64(t3, l0, 0)
	t4, c = bits.Add64(t4, l1, c)
	t5, c = bits.Add64(t5, l2, c)
	t6, c = bits.Add64(t6, l3, c)
	z.reduce(t0, t1, t2, t3, t4, t5, t6, t7+c)
}

// reduce divides eight words by 2^256 modulo p. Four times the lowest word m goes: t + m·p, divided by 2^64, is what is above it plus
// m·(2^192 - 2^160 - 2^32 + 1).
func (z *element) reduce(t0, t1, t2, t3, t4, t5, t6, t7 uint64) {
	var b, c, d0, d1, d2, d3 uint64
	d0, b = bits.Sub64(t0, t0<<32, 0)
	d1, b = bits.Sub64(0, t0>>32, b)
	d2, b = bits.Sub64(0, t0<<32, b)
	d3, _ = bits.Sub64(t0, t0>>32, b)
	t1, c = bits.Add64(t1, d0, 0)
	t2, c = bits.Add64(t2, d1, c)
	t3, c = bits.Add64(t3, d2, c)
	t4, c = bits.Add64(t4, d3, c)
	t5, top := bits.Add64(t5, c, 0)

	d0, b = bits.Sub64(t1, t1<<32, 0)
	d1, b = bits.Sub64(0, t1>>32, b)
	d2, b = bits.Sub64(0, t1<<32, b)
	d3, _ = bits.Sub64(t1, t1>>32, b)
	t2, c = bits.Add64(t2, d0, 0)
	t3, c = bits.Add64(t3, d1, c)
	t4, c = bits.Add64(t4, d2, c)
	t5, c = bits.Add64(t5, d3, c)
	t6, top = bits.Add64(t6, c, top)

	d0, b = bits.Sub64(t2, t2<<32, 0)
	d1, b = bits.Sub64(0, t2>>32, b)
	d2, b = bits.Sub64(0, t2<<32, b)
	d3, _ = bits.Sub64(t2, t2>>32, b)
	t3, c = bits.Add64(t3, d0, 0)
	t4, c = bits.Add64(t4, d1, c)
	t5, c = bits.Add64(t5, d2, c)
	t6, c = bits.Add64(t6, d3, c)
	t7, top = bits.Add64(t7, c, top)

	d0, b = bits.Sub64(t3, t3<<32, 0)
	d1, b = bits.Sub64(0, t3>>32, b)
	d2, b = bits.Sub64(0, t3<<32, b)
	d3, _ = bits.Sub64(t3, t3>>32, b)
	t4, c = bits.Add64(t4, d0, 0)
	t5, c = bits.Add64(t5, d1, c)
	t6, c = bits.Add64(t6, d2, c)
	t7, c = bits.Add64(t7, d3, c)
	top += c

	d0, b = bits.Sub64(t4, p0, 0)
	d1, b = bits.Sub64(t5, p1, b)
	d2, b = bits.Sub64(t6, p2, b)
	d3, b = bits.Sub64(t7, p3, b)
	_, b = bits.Sub64(top, 0, b)
	keep := -b // all ones when it was below p
	z[0], z[1], z[2], z[3] = d0^(keep&(d0^t4)), d1^(keep&(d1^t5)), d2^(keep&(d2^t6)), d3^(keep&(d3^t7))
}
