package register

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// PaperKind is what kind of paper the bureau issues.
type PaperKind string

// The kinds.
const (
	PaperLicence   PaperKind = "licence"   // 电子营业执照, of one version
	PaperMade      PaperKind = "made"      // 《电子印章制作证书》, on collection
	PaperCancelled PaperKind = "cancelled" // 《电子印章注销证书》, when a seal has ended
)

// group is whose seal a kind needs: licences the registration authority's that they name, certificates anybody's who may seal those.
func (k PaperKind) group() string {
	if k == PaperLicence {
		return "licence"
	}
	return "certificate"
}

// Paper is a paper that the bureau owes since something happened, or has issued.
type Paper struct {
	ID      string    `json:"id"` // kind and what it is of
	Kind    PaperKind `json:"kind"`
	USCC    string    `json:"uscc"`
	Version int       `json:"version,omitempty"` // of the licence
	ESID    string    `json:"esid,omitempty"`
	Issuer  string    `json:"issuer,omitempty"` // name of the authority whose seal it must bear; empty when any will do
	Since   time.Time `json:"since"`
	Issued  *Issued   `json:"issued,omitempty"` // nil while it is owed
}

// Issued says what a paper became.
type Issued struct {
	At       time.Time `json:"at"` // as the seal states it
	SM3      string    `json:"sm3"`
	Size     int       `json:"size"`
	Seal     string    `json:"seal"`     // the institution's
	Standing string    `json:"standing"` // the delegation it was sealed under
	Entry    uint64    `json:"entry"`    // number of the signature's record
}

var (
	papers = &store.Collection{Name: "paper", Codec: 1, Indexes: []store.Index{
		{Name: "owed", Keys: field(func(p Paper) string {
			if p.Issued != nil {
				return ""
			}
			return owedBy(p.Kind.group(), p.Issuer) + p.Since.UTC().Format("20060102150405.000000")
		})},
	}}
	paperFiles = &store.Collection{Name: "paper-file", Codec: 1}
)

// owedBy begins the index keys of one issuer. Names hold no control characters.
func owedBy(group, issuer string) string { return group + "\n" + issuer + "\n" }

// LicencePaper is the paper of one version of a licence.
func LicencePaper(uscc string, version int, issuer string, since time.Time) Paper {
	return Paper{ID: fmt.Sprintf("%s/%s/%06d", PaperLicence, uscc, version), Kind: PaperLicence, USCC: uscc, Version: version, Issuer: issuer, Since: since.UTC()}
}

// SealPaper names a certificate of a seal.
func SealPaper(k PaperKind, esid string) string { return string(k) + "/" + esid }

// Owe drafts that a paper is owed, for the commit of what it is about.
func Owe(p Paper) (Draft, error) {
	var d Draft
	return d, d.put(papers, p.ID, p, 0)
}

// owe is Owe for a certificate of this seal. An institution's own seal gets none: its ceremony has a transcript.
func (s Seal) owe(d *Draft, k PaperKind, since time.Time) error {
	if s.Institutional {
		return nil
	}
	return d.put(papers, SealPaper(k, s.ESID), Paper{ID: SealPaper(k, s.ESID), Kind: k, USCC: s.USCC, ESID: s.ESID, Since: since.UTC()}, 0)
}

// Issue drafts that an owed paper became what it is. The file of a licence is archived by the licence library; a certificate's is kept here.
func (p Paper) Issue(at store.Version, i Issued, file []byte, by audit.Actor) (Paper, Draft, error) {
	var d Draft
	p.Issued = &i
	err := d.put(papers, p.ID, p, at)
	if p.Kind != PaperLicence {
		d.putRaw(paperFiles, p.ID, file, 0)
	}
	if err == nil {
		err = d.record(audit.Event{Kind: "paper-issued", Actor: by, Subject: p.ID, Detail: i})
	}
	return p, d, err
}

// Paper reads one. ErrUnknown when none of that name was ever owed.
func (r *Register) Paper(ctx context.Context, id string) (Paper, store.Version, error) {
	var p Paper
	at, err := r.read(ctx, papers, id, &p)
	return p, at, err
}

// PaperFile returns a certificate as it was issued.
func (r *Register) PaperFile(ctx context.Context, id string) ([]byte, error) {
	it, err := r.st.Get(ctx, paperFiles, []byte(id))
	return it.Value, named(err, paperFiles, id)
}

// OwedPapers lists papers of one kind's group that wait for this issuer's seal, the longest first, at most limit.
func (r *Register) OwedPapers(ctx context.Context, k PaperKind, issuer string, limit int) ([]Paper, error) {
	l, err := r.st.List(ctx, papers, "owed", []byte(owedBy(k.group(), issuer)), "", limit)
	if err != nil {
		return nil, fmt.Errorf("listing papers: %w", err)
	}
	all := make([]Paper, len(l.Items))
	for n, it := range l.Items {
		if err := json.Unmarshal(it.Value, &all[n]); err != nil {
			return nil, fmt.Errorf("listing papers: %w: %w", store.ErrCorrupt, err)
		}
	}
	return all, nil
}
