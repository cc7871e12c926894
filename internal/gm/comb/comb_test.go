//lint:file-ignore SA1019 coordinates of chosen keys and multiples of the base point are what is compared here

package comb_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"math/big"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	tjsm2 "github.com/tjfoc/gmsm/sm2"

	"sealkeeper/internal/gm/comb"
)

var order = sm2.P256().Params().N

// key is a private scalar with its public half in each implementation's form.
type key struct {
	d     *big.Int
	pub   *ecdsa.PublicKey
	table *comb.Table
}

func keyOf(t testing.TB, d *big.Int) key {
	t.Helper()
	x, y := tjsm2.P256Sm2().ScalarBaseMult(d.FillBytes(make([]byte, 32))) // emmansun makes no key of n-1
	k := key{d: d, pub: &ecdsa.PublicKey{Curve: sm2.P256(), X: x, Y: y}}
	var err error
	if k.table, err = comb.New(coordinate(x), coordinate(y)); err != nil {
		t.Fatal(err)
	}
	return k
}

func coordinate(v *big.Int) (b [32]byte) {
	v.FillBytes(b[:])
	return b
}

func random(t testing.TB) *big.Int {
	v, err := rand.Int(rand.Reader, new(big.Int).Sub(order, big.NewInt(2)))
	if err != nil {
		t.Fatal(err)
	}
	return v.Add(v, big.NewInt(1))
}

// sign makes a signature with a nonce of our choice: r = e + x(kG), s = (k - r·d)/(1+d).
func (k key) sign(e [32]byte, nonce *big.Int) (r, s *big.Int) {
	x, _ := sm2.P256().ScalarBaseMult(nonce.FillBytes(make([]byte, 32)))
	r = x.Add(x, new(big.Int).SetBytes(e[:]))
	r.Mod(r, order)
	s = new(big.Int).Mul(r, k.d)
	s.Sub(nonce, s)
	s.Mul(s, new(big.Int).ModInverse(new(big.Int).Add(k.d, big.NewInt(1)), order))
	return r, s.Mod(s, order)
}

// agree asks all three and returns the verdict.
func agree(t testing.TB, k key, e [32]byte, r, s *big.Int, second bool) bool {
	t.Helper()
	var raw [64]byte
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	got := k.table.Verify(e, raw)
	if want := sm2.Verify(k.pub, e[:], r, s); got != want {
		t.Fatalf("d=%x e=%x r=%x s=%x: table says %v, emmansun %v", k.d, e, r, s, got, want)
	}
	if second {
		want := tjsm2.Verify(&tjsm2.PublicKey{Curve: tjsm2.P256Sm2(), X: k.pub.X, Y: k.pub.Y}, e[:], r, s)
		if got != want {
			t.Fatalf("d=%x e=%x r=%x s=%x: table says %v, tjfoc %v", k.d, e, r, s, got, want)
		}
	}
	return got
}

// keys are ordinary ones, and those whose points meet the generator's multiples in the tables, where additions become doublings or cancel out.
func keys(t testing.TB) []key {
	two := big.NewInt(2)
	all := []*big.Int{big.NewInt(1), two, big.NewInt(3), new(big.Int).Sub(order, two), new(big.Int).Rsh(order, 1),
		new(big.Int).Exp(two, big.NewInt(16), nil), new(big.Int).Exp(two, big.NewInt(32), nil), new(big.Int).Sub(order, new(big.Int).Exp(two, big.NewInt(32), nil)),
		random(t), random(t), random(t)}
	out := make([]key, len(all))
	for i, d := range all {
		out[i] = keyOf(t, d)
	}
	return out
}

// TestAgreesOnGenuine: signatures verify, and nothing verifies that was changed by one bit.
func TestAgreesOnGenuine(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	for _, k := range keys(t) {
		for i := range rounds {
			var e [32]byte
			rand.Read(e[:])
			if i == 0 {
				e = [32]byte(bytes.Repeat([]byte{0xff}, 32)) // above the order
			}
			nonce := random(t)
			if i == 1 {
				nonce = big.NewInt(1)
			}
			r, s := k.sign(e, nonce)
			if r.Sign() == 0 || s.Sign() == 0 {
				continue
			}
			if !agree(t, k, e, r, s, i < 4) {
				t.Fatalf("d=%x: a genuine signature does not verify", k.d)
			}
			for _, v := range []*big.Int{r, s} {
				bit := int(nonce.Bit(0)) + i*6%256
				was := v.Bit(bit)
				v.SetBit(v, bit, was^1)
				if agree(t, k, e, r, s, i < 2) {
					t.Fatal("a changed signature verifies")
				}
				v.SetBit(v, bit, was)
			}
			e[i%32] ^= 1 << (i % 8)
			if agree(t, k, e, r, s, i < 2) {
				t.Fatal("a signature over something else verifies")
			}
		}
	}
}

// TestAgreesAtTheEdges: numbers at and beyond the bounds, t = r + s = 0, and sums that end at infinity.
func TestAgreesAtTheEdges(t *testing.T) {
	one := big.NewInt(1)
	edges := []*big.Int{new(big.Int), one, big.NewInt(2), new(big.Int).Sub(order, one), order, new(big.Int).Add(order, one),
		sm2.P256().Params().P, new(big.Int).Sub(new(big.Int).Lsh(one, 256), one), new(big.Int).Rsh(order, 1)}
	for _, k := range keys(t) {
		for _, e := range [][32]byte{{}, {31: 1}, coordinate(order), [32]byte(bytes.Repeat([]byte{0xff}, 32))} {
			for _, r := range edges {
				for _, s := range edges {
					agree(t, k, e, new(big.Int).Set(r), new(big.Int).Set(s), false)
				}
			}
			for range 4 {
				sum := random(t) // r + s of a pair with s + (r+s)·d = 0: no point at all
				s := new(big.Int).Mul(sum, k.d)
				s.Mod(s.Neg(s), order)
				r := new(big.Int).Sub(sum, s)
				if agree(t, k, e, r.Mod(r, order), s, false) {
					t.Fatal("the point at infinity verifies")
				}
				opposite := new(big.Int).Sub(order, sum)
				if agree(t, k, e, sum, opposite, false) {
					t.Fatal("r + s = 0 verifies")
				}
			}
		}
	}
}

// TestPoint refuses what is not on the curve.
func TestPoint(t *testing.T) {
	k := keyOf(t, random(t))
	x, y := coordinate(k.pub.X), coordinate(k.pub.Y)
	high := coordinate(new(big.Int).Add(sm2.P256().Params().P, big.NewInt(1)))
	y[31] ^= 1
	for _, c := range [][2][32]byte{{x, y}, {y, x}, {{}, {}}, {high, y}, {x, high}} {
		if _, err := comb.New(c[0], c[1]); !errors.Is(err, comb.ErrPoint) {
			t.Errorf("%x: %v", c, err)
		}
	}
}

// FuzzAgrees lets the fuzzer look for a pair that the table and the library see differently.
func FuzzAgrees(f *testing.F) {
	k := keyOf(f, random(f))
	var e [32]byte
	r, s := k.sign(e, random(f))
	f.Add(e[:], r.Bytes(), s.Bytes())
	f.Add(e[:], []byte{1}, order.Bytes())
	f.Fuzz(func(t *testing.T, eb, rb, sb []byte) {
		r, s := new(big.Int).SetBytes(rb), new(big.Int).SetBytes(sb)
		if len(eb) != 32 || r.BitLen() > 256 || s.BitLen() > 256 {
			return // no digest, r or s of this length reaches a table
		}
		agree(t, k, [32]byte(eb), r, s, false)
	})
}

func benchmark(b *testing.B) (k key, e [32]byte, r, s *big.Int) {
	k = keyOf(b, random(b))
	r, s = k.sign(e, random(b))
	return k, e, r, s
}

func BenchmarkVerifyTable(b *testing.B) {
	k, e, r, s := benchmark(b)
	raw := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	for b.Loop() {
		if !k.table.Verify(e, [64]byte(raw)) {
			b.Fatal("does not verify")
		}
	}
}

func BenchmarkVerifyLibrary(b *testing.B) {
	k, e, r, s := benchmark(b)
	for b.Loop() {
		if !sm2.Verify(k.pub, e[:], r, s) {
			b.Fatal("does not verify")
		}
	}
}

func BenchmarkTable(b *testing.B) {
	k, _, _, _ := benchmark(b)
	x, y := coordinate(k.pub.X), coordinate(k.pub.Y)
	for b.Loop() {
		comb.New(x, y)
	}
}
