package pdf

import "slices"

// This file compares pages, and what stands on them.

// pageOf is the node of the page tree that lists a page, before and after.
type pageOf struct {
	old, new Value
	depth    int
}

// pages compares two nodes of the page tree (ISO 32000-1 7.7.3).
func (c *comparison) pages(old, new Value, in pageOf) error {
	if in.depth > maxDepth {
		return refuse("pdf-page-tree", "deeper than %d", maxDepth)
	}
	if !c.take(old, new, rolePage) {
		return nil
	}
	a, b, err := c.dicts(old, new)
	if err != nil {
		return err
	}
	if a == nil || b == nil {
		c.report(Content, "a page was changed into something else")
		return nil
	}
	c.parent(a, b, in.old, in.new, Content)
	if a.Get("Kids") == nil && b.Get("Kids") == nil {
		return eachKey(a, b, c.pageKey)
	}
	return c.node(old, new, a, b, in.depth)
}

// parent compares what a node names as its parent, from which readers take what the node itself leaves open. The one that lists it is
// compared by rules of its own.
func (c *comparison) parent(a, b Dict, old, new Value, level Level) {
	before, after := a.Get("Parent"), b.Get("Parent")
	if before == nil && after == nil || before != nil && after != nil && same(before, old) && same(after, new) {
		return
	}
	c.strictly(before, after, level, "/Parent of a page, field or annotation")
}

func (c *comparison) node(old, new Value, a, b Dict, depth int) error {
	oldKids, newKids, err := c.arrays(a.Get("Kids"), b.Get("Kids"))
	if err != nil {
		return err
	}
	if len(oldKids) != len(newKids) || (a.Get("Kids") == nil) != (b.Get("Kids") == nil) {
		c.report(Content, "pages were added or removed")
	}
	for i := range min(len(oldKids), len(newKids)) {
		if err := c.pages(oldKids[i], newKids[i], pageOf{old, new, depth + 1}); err != nil {
			return err
		}
	}
	return eachKey(a, b, func(key Name, old, new Value) error {
		switch key {
		case "Kids", "Parent":
		default:
			c.drawn(old, new, Content, "/%.40s of the page tree", key)
		}
		return nil
	})
}

func (c *comparison) pageKey(key Name, old, new Value) error {
	switch key {
	case "Parent":
	case "Annots":
		return c.annotations(old, new)
	case "Contents", "Resources":
		c.drawn(old, new, Content, "/%s of a page", key)
	case "LastModified", "PieceInfo", "Metadata":
		if !same(old, new) {
			c.report(Evidence, "/%s of a page was changed", key)
		}
	case "Tabs", "StructParents":
		if !same(old, new) {
			c.report(Filling, "/%s of a page was changed", key)
		}
	default:
		c.strictly(old, new, Content, "/%.40s of a page", key)
	}
	return nil
}

// annotations compares what stands on a page.
func (c *comparison) annotations(old, new Value) error {
	a, b, err := c.arrays(old, new)
	if err != nil {
		return err
	}
	before := map[Ref]bool{}
	for _, v := range a {
		if ref, ok := v.(Ref); ok {
			before[ref] = true
		}
	}
	after := map[Ref]bool{}
	for _, v := range b {
		ref, ok := v.(Ref)
		after[ref] = ok
		switch {
		case ok && before[ref]:
			err = c.annotation(ref)
		case !ok && slices.ContainsFunc(a, func(o Value) bool { return same(o, v) }):
			c.strictly(v, v, Annotating, "an annotation")
		default:
			err = c.added(v)
		}
		if err != nil {
			return err
		}
	}
	c.order(a, b, before, after)
	return c.removed(a, b, after)
}

// order compares the order of those that stayed: a later one covers an earlier one.
func (c *comparison) order(a, b Array, before, after map[Ref]bool) {
	stayed := func(list Array) (out []Ref) {
		for _, v := range list {
			if ref, ok := v.(Ref); ok && before[ref] && after[ref] {
				out = append(out, ref)
			}
		}
		return out
	}
	if !slices.Equal(stayed(a), stayed(b)) {
		c.report(Annotating, "the annotations of a page stand in another order")
	}
}

func (c *comparison) removed(a, b Array, after map[Ref]bool) error {
	for _, v := range a {
		ref, ok := v.(Ref)
		if ok && after[ref] || !ok && slices.ContainsFunc(b, func(n Value) bool { return same(n, v) }) {
			continue
		}
		annot, err := c.doc.lenient(v, c.old)
		switch {
		case err != nil:
			return err
		case annot == nil:
		case annot.Get("Subtype") == Name("Widget"):
			c.report(Content, "a form field was taken from a page")
		default:
			c.report(Annotating, "an annotation was removed (%.40v)", annot.Get("Subtype"))
		}
	}
	return nil
}

// annotation compares an annotation that stood on the page before.
func (c *comparison) annotation(ref Ref) error {
	a, b, err := c.dicts(ref, ref)
	if err != nil {
		return err
	}
	if a == nil || b == nil {
		c.strictly(ref, ref, Content, "what stands for an annotation")
		return nil
	}
	if !c.take(ref, ref, roleAnnotation) {
		return nil // a field, compared with the form
	}
	level := Annotating
	if a.Get("Subtype") == Name("Widget") || b.Get("Subtype") == Name("Widget") {
		level = Content
	}
	c.parent(a, b, nil, nil, level)
	return eachKey(a, b, func(key Name, old, new Value) error {
		switch key {
		case "P", "Parent":
		case "AP":
			c.drawn(old, new, level, "the appearance of an annotation (%.40v)", a.Get("Subtype"))
		default:
			c.strictly(old, new, level, "an annotation (%.40v)", a.Get("Subtype"))
		}
		return nil
	})
}

// added judges an annotation that is new on a page.
func (c *comparison) added(v Value) error {
	annot, err := c.doc.lenient(v, c.new)
	if err != nil || annot == nil {
		return err
	}
	if ref, ok := v.(Ref); ok {
		if level, known := c.fresh[ref]; known {
			c.report(level, "the field of a further signature was added")
			return nil
		}
	}
	if annot.Get("Subtype") == Name("Widget") {
		c.report(Content, "a form field was put on a page")
		return nil
	}
	c.report(Annotating, "an annotation was added (%.40v)", annot.Get("Subtype"))
	return nil
}
