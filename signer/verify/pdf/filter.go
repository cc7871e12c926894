package pdf

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
)

// rows gives the decoded bytes of a cross-reference or object stream, never holding more of them than asked for.
type rows struct {
	doc *Document
	in  io.Reader

	predictor, size, pixel int    // of PNG or TIFF rows; predictor 1 is none
	line, last             []byte // line has the type byte first where PNG
	left                   []byte
}

// decoder opens a stream for reading. FlateDecode with its predictors is what producers write; anything else is unsupported.
func (d *Document) decoder(s *Stream) (*rows, error) {
	filter, parms := s.Dict.Get("Filter"), s.Dict.Get("DecodeParms")
	if list, ok := filter.(Array); ok && len(list) <= 1 {
		filter = nil
		if len(list) == 1 {
			filter = list[0]
		}
		if p, ok := parms.(Array); ok && len(p) <= 1 {
			parms = nil
			if len(p) == 1 {
				parms = p[0]
			}
		}
	}
	out := &rows{doc: d, predictor: 1}
	switch filter {
	case nil:
		out.in = bytes.NewReader(s.Raw)
		return out, nil
	case Name("FlateDecode"):
	default:
		return nil, unsupported("pdf-filter", "a cross-reference or object stream under filter %.60v", filter)
	}
	z, err := zlib.NewReader(bytes.NewReader(s.Raw))
	if err != nil {
		return nil, refuse("pdf-stream", "a cross-reference or object stream: %v", err)
	}
	out.in = z
	return out, out.prediction(parms)
}

// prediction reads the parameters of LZWDecode and FlateDecode (ISO 32000-1 table 8).
func (r *rows) prediction(parms Value) error {
	if parms == nil {
		return nil
	}
	p, ok := parms.(Dict)
	number := func(key Name, absent int64) int64 {
		v := p.Get(key)
		if v == nil {
			return absent
		}
		n, isInt := v.(int64)
		ok = ok && isInt && n >= 1 && n <= 1<<16
		return n
	}
	predictor, colors, bits, columns := number("Predictor", 1), number("Colors", 1), number("BitsPerComponent", 8), number("Columns", 1)
	if !ok {
		return refuse("pdf-stream", "the decode parameters of a cross-reference or object stream")
	}
	if predictor == 1 {
		return nil
	}
	if predictor < 10 || predictor > 15 || bits != 8 || colors > 32 {
		return unsupported("pdf-filter", "predictor %d with %d bits", predictor, bits)
	}
	r.predictor, r.pixel, r.size = int(predictor), int(colors), int(colors*columns)
	r.line, r.last = make([]byte, r.size+1), make([]byte, r.size)
	return nil
}

// full fills b.
func (r *rows) full(b []byte) error {
	if err := r.doc.spend(len(b)); err != nil {
		return err
	}
	if r.predictor == 1 {
		_, err := io.ReadFull(r.in, b)
		return short(err)
	}
	for len(b) > 0 {
		if len(r.left) == 0 {
			if err := r.next(); err != nil {
				return err
			}
		}
		n := copy(b, r.left)
		b, r.left = b[n:], r.left[n:]
	}
	return nil
}

func short(err error) error {
	if err != nil {
		return refuse("pdf-stream", "a cross-reference or object stream ends early or is damaged: %v", err)
	}
	return nil
}

// next undoes the PNG prediction of one row (RFC 2083 chapter 6).
func (r *rows) next() error {
	if _, err := io.ReadFull(r.in, r.line); err != nil {
		if errors.Is(err, io.EOF) {
			return refuse("pdf-stream", "a cross-reference or object stream ends early")
		}
		return short(err)
	}
	row := r.line[1:]
	for i := range row {
		var left, up, corner byte
		up = r.last[i]
		if i >= r.pixel {
			left, corner = row[i-r.pixel], r.last[i-r.pixel]
		}
		switch r.line[0] {
		case 0:
		case 1:
			row[i] += left
		case 2:
			row[i] += up
		case 3:
			row[i] += byte((int(left) + int(up)) / 2)
		case 4:
			row[i] += paeth(left, up, corner)
		default:
			return refuse("pdf-stream", "a row of prediction type %d", r.line[0])
		}
	}
	copy(r.last, row)
	r.left = r.last
	return nil
}

func paeth(a, b, c byte) byte {
	p := int(a) + int(b) - int(c)
	da, db, dc := abs(p-int(a)), abs(p-int(b)), abs(p-int(c))
	switch {
	case da <= db && da <= dc:
		return a
	case db <= dc:
		return b
	}
	return c
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

// all reads what is left, at most limit bytes.
func (r *rows) all(limit int) ([]byte, error) {
	var out []byte
	for {
		chunk := make([]byte, min(64<<10, limit-len(out)+1))
		n, err := r.some(chunk)
		out = append(out, chunk[:n]...)
		switch {
		case len(out) > limit:
			return nil, refuse("pdf-bomb", "an object stream of more than %d bytes", limit)
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, err
		}
	}
}

// some reads up to a chunk; io.EOF ends it.
func (r *rows) some(b []byte) (int, error) {
	if err := r.doc.spend(len(b)); err != nil {
		return 0, err
	}
	if r.predictor == 1 {
		n, err := io.ReadFull(r.in, b)
		if err == io.ErrUnexpectedEOF || err == io.EOF {
			return n, io.EOF
		}
		return n, short(err)
	}
	n := 0
	for n < len(b) {
		if len(r.left) == 0 {
			if err := r.next(); err != nil {
				var f *Refusal
				if errors.As(err, &f) && f.Detail == "a cross-reference or object stream ends early" {
					return n, io.EOF
				}
				return n, err
			}
		}
		m := copy(b[n:], r.left)
		n, r.left = n+m, r.left[m:]
	}
	return n, nil
}
