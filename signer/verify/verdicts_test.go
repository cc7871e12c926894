package verify_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify"
)

// TestVerdictsAreKeptApart: each of the three questions has its own answer, and the words say which of them decides.
func TestVerdictsAreKeptApart(t *testing.T) {
	state := func(name string, since time.Duration) func(*world, *verify.Options) {
		return func(w *world, o *verify.Options) {
			o.SealStatus = func(context.Context, string) (verify.SealState, error) {
				return verify.SealState{State: name, Since: w.at.Add(since)}, nil
			}
		}
	}
	cases := []struct {
		name   string
		edit   func(*world)
		opts   func(*world, *verify.Options)
		want   verify.Verdicts
		zh, en string
	}{
		{"sound, issuer asked", nil, state("active", -time.Hour), verify.Verdicts{SealOffline: "valid", SealStatus: "valid", Document: "valid"}, "有效", "valid"},
		{"sound, issuer not asked", nil, nil, verify.Verdicts{SealOffline: "valid", SealStatus: "not-checked", Document: "valid"},
			"有效（未查询印章当前状态）", "valid (the issuer was not asked about the seal)"},
		{"cancelled since", nil, state("cancelled", time.Hour), verify.Verdicts{SealOffline: "valid", SealStatus: "valid", Document: "valid"},
			"签章时有效，其后已注销（2026-02-10T01:00:00Z）", "valid when it signed, cancelled since (2026-02-10T01:00:00Z)"},
		{"of a state without words since", nil, state("frozen", time.Hour), verify.Verdicts{SealOffline: "valid", SealStatus: "valid", Document: "valid"},
			"签章时有效，其后失效（2026-02-10T01:00:00Z）", "valid when it signed, ended since (2026-02-10T01:00:00Z)"},
		{"cancelled before", nil, state("cancelled", -time.Hour), verify.Verdicts{SealOffline: "valid", SealStatus: "invalid", Document: "valid"}, "无效：签章前印章已注销（2026-02-09T23:00:00Z）", "not valid: the seal was cancelled before it signed (2026-02-09T23:00:00Z)"},
		{"document changed", func(w *world) {
			w.after = func(f map[string][]byte) { f[pageFile] = []byte(strings.Replace(pageXML, "Layer", "layer", 1)) }
		}, state("active", -time.Hour), verify.Verdicts{SealOffline: "valid", SealStatus: "valid", Document: "invalid"}, "无效：保护文件摘要", "not valid: references"},
		{"a file's finding", func(w *world) { w.protect = func(n string) bool { return n != "Doc_0/Res/image.png" } }, state("active", -time.Hour),
			verify.Verdicts{SealOffline: "valid", SealStatus: "valid", Document: "indeterminate"}, "无法判定：保护范围", "cannot be decided: coverage"},
		{"a second document", func(w *world) {
			w.files["OFD.xml"] = strings.Replace(ofdXML, "</ofd:OFD>", "<ofd:DocBody><ofd:DocRoot>Doc_1/Document.xml</ofd:DocRoot></ofd:DocBody></ofd:OFD>", 1)
			w.add("Doc_1/Document.xml", `<Document><Pages/></Document>`)
		}, state("active", -time.Hour), verify.Verdicts{SealOffline: "valid", SealStatus: "valid", Document: "indeterminate"}, "无法判定：unsigned-document", "cannot be decided: unsigned-document"},
		{"maker unknown", nil, func(w *world, o *verify.Options) { o.Makers = []*gm.Certificate{w.signer.cert} },
			verify.Verdicts{SealOffline: "indeterminate", SealStatus: "not-checked", Document: "valid"}, "无法判定：制章人证书", "cannot be decided: maker certificate"},
		{"seal run out since", func(w *world) { w.info.ValidEnd = made.AddDate(0, 2, 0) }, state("active", -time.Hour),
			verify.Verdicts{SealOffline: "valid", SealStatus: "valid", Document: "valid"}, "签章时有效，其后印章有效期届满", "valid when it signed, the seal run out since"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if c.edit != nil {
				c.edit(w)
			}
			opts := w.options()
			if c.opts != nil {
				c.opts(w, &opts)
			}
			r := verify.Document(t.Context(), "x.ofd", w.build(t), opts)
			s := r.Signatures[0]
			if s.Verdicts != c.want || s.Conclusion != (verify.Conclusion{Zh: c.zh, En: c.en}) {
				t.Errorf("%+v %+v\n%s", s.Verdicts, s.Conclusion, r.Text(verify.English))
			}
			if zh := r.Text(verify.Chinese); !strings.Contains(zh, "结论: "+c.zh) {
				t.Errorf("the text does not say so:\n%s", zh)
			}
		})
	}
	w := newWorld(t)
	r := verify.Document(t.Context(), "a.esl", w.seal(t), w.options())
	if got := r.Signatures[0].Verdicts; got != (verify.Verdicts{SealOffline: "valid", SealStatus: "not-checked", Document: "not-applicable"}) {
		t.Errorf("a seal alone: %+v", got)
	}
}
