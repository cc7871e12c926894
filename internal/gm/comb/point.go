package comb

// affine is a point of the curve y² = x³ - 3x + b, never the one at infinity.
type affine struct{ x, y element }

// point is a point in Jacobian coordinates (X/Z², Y/Z³); Z = 0 is the point at infinity. Nothing here is secret, so exceptional cases branch.
type point struct{ x, y, z element }

func (p *point) set(a *affine) { p.x, p.y, p.z = a.x, a.y, one }

// double sets p = 2p (dbl-2001-b of the explicit-formulas database). There is no point of order two, so infinity alone stays itself: Z is 0 then too.
func (p *point) double() {
	var delta, gamma, beta, alpha, t element
	delta.mul(&p.z, &p.z)
	gamma.mul(&p.y, &p.y)
	beta.mul(&p.x, &gamma)
	alpha.sub(&p.x, &delta)
	t.add(&p.x, &delta)
	alpha.mul(&alpha, &t)
	t.add(&alpha, &alpha)
	alpha.add(&alpha, &t) // 3(X - Z²)(X + Z²)

	p.z.add(&p.y, &p.z)
	p.z.mul(&p.z, &p.z)
	p.z.sub(&p.z, &gamma)
	p.z.sub(&p.z, &delta)

	beta.add(&beta, &beta)
	beta.add(&beta, &beta) // 4β
	p.x.mul(&alpha, &alpha)
	t.add(&beta, &beta)
	p.x.sub(&p.x, &t)

	gamma.add(&gamma, &gamma)
	gamma.mul(&gamma, &gamma)
	gamma.add(&gamma, &gamma) // 8γ²
	t.sub(&beta, &p.x)
	t.mul(&alpha, &t)
	p.y.sub(&t, &gamma)
}

// add sets p = p + q (madd of the same database with 2 taken out of Z).
func (p *point) add(q *affine) {
	if p.z.isZero() {
		p.set(q)
		return
	}
	var zz, h, r, t, hh, hhh element
	zz.mul(&p.z, &p.z)
	h.mul(&q.x, &zz)
	h.sub(&h, &p.x)
	t.mul(&p.z, &zz)
	t.mul(&q.y, &t)
	r.sub(&t, &p.y)
	if h.isZero() {
		if r.isZero() {
			p.double() // the same point twice
		} else {
			p.z = element{} // a point and its negative
		}
		return
	}
	hh.mul(&h, &h)
	hhh.mul(&h, &hh)
	t.mul(&p.x, &hh)
	p.z.mul(&p.z, &h)
	p.x.mul(&r, &r)
	p.x.sub(&p.x, &hhh)
	p.x.sub(&p.x, &t)
	p.x.sub(&p.x, &t)
	t.sub(&t, &p.x)
	t.mul(&t, &r)
	hhh.mul(&hhh, &p.y)
	p.y.sub(&t, &hhh)
}

// invert sets z = 1/x by Fermat; 1/0 is 0.
func (z *element) invert(x *element) {
	base, out := *x, one
	for i := 255; i >= 0; i-- {
		out.mul(&out, &out)
		if pMinus2[i/64]>>(i%64)&1 == 1 {
			out.mul(&out, &base)
		}
	}
	*z = out
}

// normalise turns points, none at infinity, into affine ones with one inversion for all.
func normalise(ps []point) []affine {
	products, acc := make([]element, len(ps)), one
	for i := range ps {
		products[i] = acc
		acc.mul(&acc, &ps[i].z)
	}
	acc.invert(&acc)
	out := make([]affine, len(ps))
	for i := len(ps) - 1; i >= 0; i-- {
		var inv, sq element
		inv.mul(&acc, &products[i])
		acc.mul(&acc, &ps[i].z)
		sq.mul(&inv, &inv)
		out[i].x.mul(&ps[i].x, &sq)
		sq.mul(&sq, &inv)
		out[i].y.mul(&ps[i].y, &sq)
	}
	return out
}
