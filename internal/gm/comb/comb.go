// Package comb verifies SM2 signatures under a public key that is used again and again, with a table of its multiples.
//
// Its one promise: it accepts exactly what the two implementations behind internal/gm accept; tests hold it against both. Verification is four
// fifths scalar multiplication, and a table of 510 multiples (32 kB) makes that of a known point a matter of 15 doublings and 32 additions.
//
// Limits: public values alone go in, so nothing takes constant time; no signing, no parsing of signatures, no digests.
package comb

import (
	"errors"
	"math/bits"
	"sync"
)

// ErrPoint says that two coordinates are not a point of the curve.
var ErrPoint = errors.New("not a point of sm2p256v1")

// The table is a comb (Lim and Lee): the scalar is written in teeth rows of 32 bits, and two tables hold the sums of the points that the bits
// of one column choose, the second for the columns 16 places further up.
const (
	teeth   = 8
	spacing = 256 / teeth
	columns = spacing / 2
)

// Table holds the multiples of one point. Immutable; safe for concurrent use.
type Table struct {
	sums [2][1<<teeth - 1]affine // of columns 0…15 and 16…31, by the bits of a column less one
}

// n is the order of the group.
var n = [4]uint64{0x53bbf40939d54123, 0x7203df6b21c6052b, 0xffffffffffffffff, 0xfffffffeffffffff}

// curveB is b in Montgomery form.
var curveB = montgomery(words((*[32]byte)([]byte("\x28\xe9\xfa\x9e\x9d\x9f\x5e\x34\x4d\x5a\x9e\x4b\xcf\x65\x09\xa7\xf3\x97\x89\xf5\x15\xab\x8f\x92\xdd\xbc\xbd\x41\x4d\x94\x0e\x93"))))

// base is the table of the generator, made when it is first needed.
var base = sync.OnceValue(func() *Table {
	return mustBuild("\x32\xc4\xae\x2c\x1f\x19\x81\x19\x5f\x99\x04\x46\x6a\x39\xc9\x94\x8f\xe3\x0b\xbf\xf2\x66\x0b\xe1\x71\x5a\x45\x89\x33\x4c\x74\xc7",
		"\xbc\x37\x36\xa2\xf4\xf6\x77\x9c\x59\xbd\xce\xe3\x6b\x69\x21\x53\xd0\xa9\x87\x7c\xc6\x2a\x47\x40\x02\xdf\x32\xe5\x21\x39\xf0\xa0")
})

func mustBuild(x, y string) *Table {
	t, err := New([32]byte([]byte(x)), [32]byte([]byte(y)))
	if err != nil {
		panic("comb: " + err.Error()) // constants of GB/T 32918.5
	}
	return t
}

// New makes the table of a point: about as much work as three verifications without one. ErrPoint.
func New(x, y [32]byte) (*Table, error) {
	a, err := onCurve(x, y)
	if err != nil {
		return nil, err
	}
	t := &Table{}
	rows := toothPoints(a)
	ps := make([]point, 0, 2*len(t.sums[0]))
	for half := range t.sums {
		for v := 1; v < 1<<teeth; v++ {
			top := bits.Len(uint(v)) - 1
			var p point
			if rest := v &^ (1 << top); rest != 0 {
				p = ps[half*len(t.sums[0])+rest-1]
			}
			p.add(&rows[2*top+half])
			ps = append(ps, p)
		}
	}
	all := normalise(ps)
	copy(t.sums[0][:], all)
	copy(t.sums[1][:], all[len(t.sums[0]):])
	return t, nil
}

// onCurve reads a point strictly: coordinates below p, on the curve.
func onCurve(x, y [32]byte) (*affine, error) {
	xw, yw, p := words(&x), words(&y), [4]uint64{p0, p1, p2, p3}
	if !less(&xw, &p) || !less(&yw, &p) {
		return nil, ErrPoint
	}
	a := &affine{montgomery(xw), montgomery(yw)}
	var left, right, t element
	left.mul(&a.y, &a.y)
	right.mul(&a.x, &a.x)
	t.add(&one, &one)
	t.add(&t, &one)
	right.sub(&right, &t)
	right.mul(&right, &a.x)
	right.add(&right, &curveB)
	if left != right {
		return nil, ErrPoint
	}
	return a, nil
}

// toothPoints returns 2^(16i)·a for i below 16. The order of the group is prime, so none is at infinity, and no sum of different ones is.
func toothPoints(a *affine) []affine {
	var p point
	p.set(a)
	ps := []point{p}
	for len(ps) < 2*teeth {
		for range columns {
			p.double()
		}
		ps = append(ps, p)
	}
	return normalise(ps)
}

// Verify reports whether r‖s is a signature over e: r and s in 1…n-1, t = r+s ≠ 0, and (e + x of s·G + t·P) = r, all modulo n.
func (t *Table) Verify(e [32]byte, raw [64]byte) bool {
	r, s := words((*[32]byte)(raw[:32])), words((*[32]byte)(raw[32:]))
	zero := [4]uint64{}
	if r == zero || s == zero || !less(&r, &n) || !less(&s, &n) {
		return false
	}
	k := addOrder(r, s)
	if k == zero {
		return false
	}
	sum := together(&s, &k, t)
	if sum.z.isZero() {
		return false
	}
	return sum.xIs(subOrder(r, words(&e)))
}

// together computes s·G + k·P with the doublings shared.
func together(s, k *[4]uint64, t *Table) (sum point) {
	g := base()
	for column := columns - 1; column >= 0; column-- {
		if column != columns-1 {
			sum.double()
		}
		for half := range 2 {
			at := column + half*columns
			if v := bitsAt(s, at); v != 0 {
				sum.add(&g.sums[half][v-1])
			}
			if v := bitsAt(k, at); v != 0 {
				sum.add(&t.sums[half][v-1])
			}
		}
	}
	return sum
}

// bitsAt collects the bits of a scalar at one column of every tooth.
func bitsAt(k *[4]uint64, column int) (v uint) {
	for i, w := range k {
		v |= uint(w>>column&1)<<(2*i) | uint(w>>(column+spacing)&1)<<(2*i+1)
	}
	return v
}

// xIs reports whether the affine x, reduced modulo the group's order, is v: x itself or, as p is above n, v + n.
func (p *point) xIs(v [4]uint64) bool {
	var zz, want element
	zz.mul(&p.z, &p.z)
	for range 2 {
		want = montgomery(v)
		if want.mul(&want, &zz); want == p.x {
			return true
		}
		var c uint64
		v[0], c = bits.Add64(v[0], n[0], 0)
		v[1], c = bits.Add64(v[1], n[1], c)
		v[2], c = bits.Add64(v[2], n[2], c)
		v[3], c = bits.Add64(v[3], n[3], c)
		if c != 0 || !less(&v, &[4]uint64{p0, p1, p2, p3}) {
			return false
		}
	}
	return false
}

// addOrder is x + y modulo n for numbers below n.
func addOrder(x, y [4]uint64) (z [4]uint64) {
	var c, b uint64
	x[0], c = bits.Add64(x[0], y[0], 0)
	x[1], c = bits.Add64(x[1], y[1], c)
	x[2], c = bits.Add64(x[2], y[2], c)
	x[3], c = bits.Add64(x[3], y[3], c)
	z[0], b = bits.Sub64(x[0], n[0], 0)
	z[1], b = bits.Sub64(x[1], n[1], b)
	z[2], b = bits.Sub64(x[2], n[2], b)
	z[3], b = bits.Sub64(x[3], n[3], b)
	if c == 0 && b == 1 {
		return x
	}
	return z
}

// subOrder is r - e modulo n for r below n and any e: 2^256 is less than twice n.
func subOrder(r, e [4]uint64) [4]uint64 {
	if !less(&e, &n) {
		e = addOrder(e, [4]uint64{}) // takes n off once
	}
	var b uint64
	for i := range r {
		r[i], b = bits.Sub64(r[i], e[i], b)
	}
	if b == 1 {
		var c uint64
		for i := range r {
			r[i], c = bits.Add64(r[i], n[i], c)
		}
	}
	return r
}
