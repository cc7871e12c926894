package comb

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func value(x *[4]uint64) *big.Int {
	v := new(big.Int)
	for i := 3; i >= 0; i-- {
		v.Lsh(v, 64).Or(v, new(big.Int).SetUint64(x[i]))
	}
	return v
}

var (
	prime  = value(&[4]uint64{p0, p1, p2, p3})
	orderN = value(&n)
	radix  = new(big.Int).Lsh(big.NewInt(1), 256)
)

// edgy draws words that carries and borrows break on.
var edgy = rapid.Custom(func(t *rapid.T) uint64 {
	return rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, 1 << 32, 1<<32 - 1, 1 << 63, p0, p1, p3, p0 - 1})).Draw(t, "word")
})

var numbers = rapid.Custom(func(t *rapid.T) (x [4]uint64) {
	for i := range x {
		x[i] = edgy.Draw(t, "w")
	}
	return x
})

// elements are below p: the edges, and anything.
var elements = rapid.Custom(func(t *rapid.T) element {
	x := numbers.Filter(func(x [4]uint64) bool { return value(&x).Cmp(prime) < 0 }).Draw(t, "x")
	return rapid.SampledFrom([]element{element(x), {}, {1}, one, rr, element(pMinus2), {p0 - 1, p1, p2, p3}}).Draw(t, "element")
})

// TestField compares every operation with math/big.
func TestField(t *testing.T) {
	inverse := new(big.Int).ModInverse(radix, prime)
	rapid.Check(t, func(t *rapid.T) {
		x, y := elements.Draw(t, "x"), elements.Draw(t, "y")
		bx, by := value((*[4]uint64)(&x)), value((*[4]uint64)(&y))
		is := func(what string, got element, want *big.Int) {
			if g := value((*[4]uint64)(&got)); g.Cmp(new(big.Int).Mod(want, prime)) != 0 {
				t.Fatalf("%s of %x and %x is %x, want %x", what, bx, by, g, want)
			}
		}
		var z element
		z.add(&x, &y)
		is("sum", z, new(big.Int).Add(bx, by))
		z.sub(&x, &y)
		is("difference", z, new(big.Int).Sub(bx, by))
		z.mul(&x, &y)
		product := new(big.Int).Mul(bx, by)
		is("product", z, product.Mul(product, inverse))
		z = x
		z.mul(&z, &z) // in place
		square := new(big.Int).Mul(bx, bx)
		is("square", z, square.Mul(square, inverse))
		is("montgomery", montgomery(x), new(big.Int).Mul(bx, radix))
		z.invert(&x)
		back := z
		back.mul(&back, &x)
		if !x.isZero() && back != one || x.isZero() && !z.isZero() {
			t.Fatalf("inverse of %x is %x", bx, value((*[4]uint64)(&z)))
		}
	})
}

// TestScalars compares the arithmetic modulo the order.
func TestScalars(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		below := numbers.Filter(func(x [4]uint64) bool { return less(&x, &n) })
		r, s, e := below.Draw(t, "r"), below.Draw(t, "s"), numbers.Draw(t, "e")
		sum, diff := addOrder(r, s), subOrder(r, e)
		wantSum, wantDiff := new(big.Int).Add(value(&r), value(&s)), new(big.Int).Sub(value(&r), value(&e))
		if value(&sum).Cmp(wantSum.Mod(wantSum, orderN)) != 0 || value(&diff).Cmp(wantDiff.Mod(wantDiff, orderN)) != 0 {
			t.Fatalf("%x + %x = %x, %x - %x = %x", r, s, sum, r, e, diff)
		}
		if less(&r, &e) != (value(&r).Cmp(value(&e)) < 0) {
			t.Fatalf("%x < %x", r, e)
		}
	})
}

// TestX takes both numbers below p that leave the same rest modulo the order; no signature that anybody could find has the second.
func TestX(t *testing.T) {
	z := montgomery([4]uint64{7})
	var zz element
	zz.mul(&z, &z)
	at := func(x [4]uint64) *point {
		p := &point{x: montgomery(x), z: z}
		p.x.mul(&p.x, &zz)
		return p
	}
	v := [4]uint64{5}
	above := addWords(v, n)
	last := subWords([4]uint64{p0, p1, p2, p3}, n)
	for _, c := range []struct {
		x, v [4]uint64
		want bool
	}{{v, v, true}, {above, v, true}, {[4]uint64{6}, v, false}, {[4]uint64{}, [4]uint64{}, true}, {n, [4]uint64{}, true}, {[4]uint64{}, last, false},
		{[4]uint64{n[0] - 1, n[1], n[2], n[3]}, [4]uint64{n[0] - 1, n[1], n[2], n[3]}, true}} {
		if got := at(c.x).xIs(c.v); got != c.want {
			t.Errorf("x = %x is %x: %v", c.x, c.v, got)
		}
	}
}

func addWords(x, y [4]uint64) [4]uint64 { return split(new(big.Int).Add(value(&x), value(&y))) }
func subWords(x, y [4]uint64) [4]uint64 { return split(new(big.Int).Sub(value(&x), value(&y))) }

func split(v *big.Int) [4]uint64 { return words((*[32]byte)(v.FillBytes(make([]byte, 32)))) }

func BenchmarkMul(b *testing.B) {
	x, y := rr, one
	for b.Loop() {
		x.mul(&x, &y)
	}
}
