package licence_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// archive enters a file and commits it.
func (d *desk) archive(n licence.FileNote, b []byte) (licence.FileChange, error) {
	d.Helper()
	c, err := d.lib.ArchiveFile(context.Background(), n, b, actor)
	if err != nil || c.Repeated {
		return c, err
	}
	_, err = d.st.Commit(context.Background(), c.Mutation())
	return c, err
}

var issued = licence.FileNote{USCC: uscc, Version: 1, Origin: licence.OriginIssued}

// TestArchive: a file is found by its digest and by its version, its bytes are those that came, and entering it again changes nothing.
func TestArchive(t *testing.T) {
	d := newDesk(t, licence.Demo)
	d.must(event(1, licence.KindEstablished, nil))
	file := []byte("PK 演示数据 licence file")
	c, err := d.archive(issued, file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.lib.File(t.Context(), licence.FileSM3(file))
	if err != nil || got != c.File || got.Size != len(file) || got.Origin != licence.OriginIssued {
		t.Fatalf("%+v, %v", got, err)
	}
	b, err := d.lib.FileBytes(t.Context(), got.SM3)
	if err != nil || !bytes.Equal(b, file) {
		t.Errorf("%q, %v", b, err)
	}
	all, err := d.lib.FilesOf(t.Context(), uscc, 1)
	if err != nil || !slices.Equal(all, []licence.File{got}) {
		t.Errorf("%+v, %v", all, err)
	}
	size := d.st.State().Size
	if c, err := d.archive(issued, file); err != nil || !c.Repeated || c.File != got || d.st.State().Size != size {
		t.Errorf("again: %+v, %v", c, err)
	}
	rs, err := d.st.Records(t.Context(), size-1, 1)
	if err != nil || len(rs) != 1 {
		t.Fatal(err)
	}
	if e, err := audit.ParseBody(rs[0].Body); err != nil || e.Kind != audit.KindLicenceFile || e.Subject != uscc {
		t.Errorf("record %+v, %v", e, err)
	}
}

func TestArchiveRefuses(t *testing.T) {
	d := newDesk(t, licence.Demo)
	d.must(event(1, licence.KindEstablished, nil))
	file := []byte("x")
	if _, err := d.archive(issued, file); err != nil {
		t.Fatal(err)
	}
	source := &licence.Source{Name: "示例", Status: licence.Active, Current: 1, CheckedAt: at(2)}
	for name, c := range map[string]struct {
		note licence.FileNote
		b    []byte
		want error
	}{
		"empty":                  {issued, nil, licence.ErrFileSize},
		"too large":              {issued, make([]byte, licence.MaxFile+1), licence.ErrFileSize},
		"no version":             {licence.FileNote{USCC: uscc, Origin: licence.OriginIssued}, []byte("y"), licence.ErrFileNote},
		"no origin":              {licence.FileNote{USCC: uscc, Version: 1}, []byte("y"), licence.ErrFileNote},
		"issued by a source":     {licence.FileNote{USCC: uscc, Version: 1, Origin: licence.OriginIssued, Source: source}, []byte("y"), licence.ErrFileNote},
		"received from nobody":   {licence.FileNote{USCC: uscc, Version: 1, Origin: licence.OriginReceived}, []byte("y"), licence.ErrFileNote},
		"no code":                {licence.FileNote{USCC: "x", Version: 1, Origin: licence.OriginIssued}, []byte("y"), licence.ErrUSCC},
		"a version never issued": {licence.FileNote{USCC: uscc, Version: 2, Origin: licence.OriginIssued}, []byte("y"), licence.ErrUnknown},
		"as another version":     {licence.FileNote{USCC: uscc, Version: 7, Origin: licence.OriginReceived, Source: source}, file, licence.ErrFileKnown},
		"a real code in a demo":  {licence.FileNote{USCC: "91350100M000100Y43", Version: 1, Origin: licence.OriginReceived, Source: source}, []byte("y"), licence.ErrNotSynthetic},
	} {
		if _, err := d.archive(c.note, c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for _, sm3 := range []string{"", "x", strings.Repeat("0", 64)} {
		_, err := d.lib.File(t.Context(), sm3)
		_, errBytes := d.lib.FileBytes(t.Context(), sm3)
		if !errors.Is(err, licence.ErrNoFile) || !errors.Is(errBytes, licence.ErrNoFile) {
			t.Errorf("%q: %v, %v", sm3, err, errBytes)
		}
	}
}

// BenchmarkFile looks files up by digest with 300,000 of them in the archive, one in a hundred of 20 kB.
func BenchmarkFile(b *testing.B) {
	d := newDesk(b, licence.Demo)
	d.must(event(1, licence.KindEstablished, nil))
	const all, batch = 300000, 1000
	source := &licence.Source{Name: "示例", Status: licence.Active, Current: 1, CheckedAt: at(2)}
	for n := 0; n < all; n += batch {
		var m store.Mutation
		for i := n; i < n+batch; i++ {
			c, err := d.lib.ArchiveFile(b.Context(), licence.FileNote{USCC: uscc, Version: i + 1, Origin: licence.OriginReceived, Source: source}, numbered(i), actor)
			if err != nil {
				b.Fatal(err)
			}
			m.Put, m.Expect, m.Audit = append(m.Put, c.Put...), append(m.Expect, c.Expect...), append(m.Audit, c.Audit...)
		}
		if _, err := d.st.Commit(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
	var took []time.Duration
	i := 0
	for b.Loop() {
		i = (i + 7919) % all
		sm3 := licence.FileSM3(numbered(i))
		start := time.Now()
		if _, err := d.lib.File(b.Context(), sm3); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
}

// numbered is a file of 200 bytes, one in a hundred of 20 kB.
func numbered(i int) []byte {
	size := 200
	if i%100 == 0 {
		size = 20000
	}
	return append([]byte(fmt.Sprintf("演示数据 %d ", i)), make([]byte, size)...)
}
