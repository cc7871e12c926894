package pdf

import (
	"bytes"
	"slices"
)

// Value is an object of PDF: nil, bool, int64, Real, Name, String, Array, Dict, Ref or *Stream.
type Value any

// Name is a name with its #xx escapes resolved.
type Name string

// Real is a number with a point, kept as written so that no rounding can hide a change.
type Real string

// Ref is an indirect reference.
type Ref struct{ Num, Gen int }

// String is a literal or hexadecimal string.
type String struct {
	Bytes      []byte
	Hex        bool  // written <…>
	Start, End int64 // extent of the token in the file with its delimiters; -1 inside an object stream
}

// Array is an array.
type Array []Value

// Pair is one entry of a dictionary.
type Pair struct {
	Key   Name
	Value Value
}

// Dict is a dictionary, ordered by key; no key stands twice, none has the value null.
type Dict []Pair

// Stream is a stream: its dictionary and its raw bytes, a slice of the file.
type Stream struct {
	Dict Dict
	Raw  []byte
}

// Get returns the value of a key, or nil.
func (d Dict) Get(key Name) Value {
	i, found := slices.BinarySearchFunc(d, key, func(p Pair, k Name) int { return compareNames(p.Key, k) })
	if !found {
		return nil
	}
	return d[i].Value
}

func compareNames(a, b Name) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// same compares two values without following references.
func same(a, b Value) bool {
	switch a := a.(type) {
	case String:
		b, ok := b.(String)
		return ok && bytes.Equal(a.Bytes, b.Bytes)
	case Array:
		b, ok := b.(Array)
		return ok && slices.EqualFunc(a, b, same)
	case Dict:
		b, ok := b.(Dict)
		return ok && slices.EqualFunc(a, b, func(p, q Pair) bool { return p.Key == q.Key && same(p.Value, q.Value) })
	case *Stream:
		b, ok := b.(*Stream)
		return ok && same(a.Dict, b.Dict) && bytes.Equal(a.Raw, b.Raw)
	}
	switch b.(type) {
	case String, Array, Dict, *Stream:
		return false
	}
	return a == b
}
