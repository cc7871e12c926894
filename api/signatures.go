package api

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/signer"
	"sealkeeper/signer/placement"
)

// signatureRequest is the JSON of one request: a JSON body where a digest comes in, the part "request" of a multipart body where a document does.
type signatureRequest struct {
	Kind       string                 `json:"kind" enum:"digest,ofd,pdf,cms"`
	Profile    string                 `json:"profile,omitempty" enum:"seal,sign,gm,gm-rfc,rfc,pades" doc:"ofd: seal (default): SES_Signature; sign: SignedData of GB/T 35275 without a seal, nothing is placed; pdf: gm (default), pades; cms: gm (default), gm-rfc, rfc, pades"`
	Seal       string                 `json:"seal" doc:"esID"`
	Purpose    string                 `json:"purpose" doc:"as granted and as approved"`
	Digest     string                 `json:"digest,omitempty" doc:"kinds digest and cms: SM3 of the document (SHA-256 for profiles rfc and pades), 64 hexadecimal digits"`
	Stamps     []stamp                `json:"stamps,omitempty" doc:"kinds ofd and pdf: where the seal's picture stands"`
	Keywords   []placement.Keyword    `json:"keywords,omitempty" doc:"kinds ofd and pdf: pictures centred on words of the text"`
	Riding     []placement.Riding     `json:"riding,omitempty" doc:"kinds ofd and pdf: one picture over the edges of several pages (骑缝章)"`
	Facing     []placement.Facing     `json:"facing,omitempty" doc:"kinds ofd and pdf: one picture over two facing pages (对开)"`
	Property   string                 `json:"property_info,omitempty" maxLength:"256" doc:"kind digest: what the signature will be embedded under"`
	Mode       string                 `json:"mode,omitempty" enum:"continued,whole" doc:"kind ofd: continued (default), others may sign after this signature; whole, it protects the list of signatures too, so that nobody can (整份)"`
	Integrity  bool                   `json:"integrity,omitempty" doc:"kind ofd: write the integrity list of GM/T 0099 (OFDEntries.xml), signed by the same key under the same approval; nobody can sign afterwards"`
	Reason     string                 `json:"reason,omitempty" maxLength:"256" doc:"kind pdf"`
	Location   string                 `json:"location,omitempty" maxLength:"256" doc:"kind pdf"`
	Timestamp  bool                   `json:"timestamp,omitempty" doc:"put a time stamp over the signature value"`
	QR         bool                   `json:"qr,omitempty" doc:"publish the signature at /v/…; kind pdf: with a QR code beside the stamp"`
	Approval   *access.SignedApproval `json:"approval,omitempty"`
	Delegation string                 `json:"delegation,omitempty"`
}

// Modes of kind ofd.
const (
	modeContinued = "continued"
	modeWhole     = "whole"
)

// stamp is a place on a page in millimetres from its top left corner, y down; pages count from 1.
type stamp struct {
	Page int     `json:"page"`
	X    float64 `json:"x"`
	Y    float64 `json:"y"`
	W    float64 `json:"w"`
	H    float64 `json:"h"`
}

type receipt struct {
	Log   string     `json:"log"`
	Index uint64     `json:"index"`
	Leaf  audit.Hash `json:"leaf"`
	Time  time.Time  `json:"time"`
	// Of signatures alone.
	Timestamp string `json:"timestamp,omitempty" enum:"granted,absent" doc:"absent: one was asked for, none could be had, and the appliance is set to sign without"`
	Page      string `json:"page,omitempty" doc:"public page of the signature"`
}

// receiptFrom is the place of a commit's first record; all zero when the act changed nothing.
func receiptFrom(r keystore.Receipt) receipt {
	out := receipt{Log: r.Log, Index: r.First, Time: r.Time}
	if len(r.Leaves) > 0 {
		out.Leaf = audit.Hash(r.Leaves[0])
	}
	return out
}

func placed(r keystore.Receipt, err error) (receipt, error) { return receiptFrom(r), err }

type signatureAnswer struct {
	Signature []byte  `json:"signature"`
	Receipt   receipt `json:"receipt"`
}

// errForm is a body that is not what the route takes.
var errForm = errors.New("not a complete signing request")

// digest binds a request's meaning to its Idempotency-Key: the fields in declared order and the document, not blanks, boundaries or whether
// it came alone or in a batch. So a call may be framed anew when it is repeated.
func (r signatureRequest) digest(document []byte) ([32]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return [32]byte{}, fmt.Errorf("encoding request: %w", err)
	}
	d := gm.SM3(document)
	return gm.SM3([]byte("POST\n/v1/signatures\n"), b, d[:]), nil
}

// toUse translates the wire form; every refusal names the field.
func (r signatureRequest) toUse(key string, bodyDigest [32]byte, document []byte) (signer.Request, error) {
	u := signer.Request{ID: key, BodyDigest: bodyDigest, Kind: r.Kind, Profile: r.Profile, Seal: r.Seal, Purpose: r.Purpose, Document: document, Approval: r.Approval, Delegation: r.Delegation,
		Plan: placement.Plan{Keywords: r.Keywords, Riding: r.Riding, Facing: r.Facing}, PropertyInfo: r.Property, WholeDocument: r.Mode == modeWhole, Integrity: r.Integrity,
		Reason: r.Reason, Location: r.Location, Timestamp: r.Timestamp, Page: r.QR}
	if r.Digest != "" {
		d, err := hex.DecodeString(r.Digest)
		if err != nil || len(d) != 32 {
			return u, fmt.Errorf("digest is not 64 hexadecimal digits: %w", errForm)
		}
		u.Digest = [32]byte(d)
	}
	if r.Mode != "" && (r.Kind != signer.KindOFD || r.Mode != modeWhole && r.Mode != modeContinued) {
		return u, fmt.Errorf("mode: %s or %s, kind ofd alone: %w", modeContinued, modeWhole, errForm)
	}
	for _, s := range r.Stamps {
		u.Plan.Stamps = append(u.Plan.Stamps, placement.Stamp{Page: s.Page, X: s.X, Y: s.Y, W: s.W, H: s.H})
	}
	return u, nil
}

func receiptOf(r signer.Released) receipt {
	out := receipt{Log: r.Log, Index: r.Index, Leaf: audit.Hash(r.Leaf), Time: r.Recorded, Page: r.PageURL}
	switch {
	case len(r.Record.Timestamp) > 0:
		out.Timestamp = "granted"
	case r.Record.NoTimestamp != "":
		out.Timestamp = "absent"
	}
	return out
}

func (s *Server) signatures() {
	s.engine.POST("/v1/signatures", s.sign)
	s.engine.POST("/v1/signatures/batch", s.signBatch)
	s.describeSignatures()
	s.reservations()
}

// recordedKey marks a refusal that the signing path has put on record itself.
const recordedKey = "sealkeeper.recorded"

func (s *Server) sign(c *gin.Context) {
	ctx, who := c.Request.Context(), callerOf(c)
	give, err := s.reserveBody(c, s.cfg.Limits.Document+s.cfg.Limits.JSON)
	if err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	defer give()
	r, err := s.readSignature(c)
	if err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	released, err := s.use.Signer.Sign(ctx, who, r)
	if err != nil {
		c.Set(recordedKey, signer.Recorded(err))
		refuse(c, s.problem(ctx, err))
		return
	}
	s.released(c, released)
}

// released answers with what left: the document with its receipt, or where a digest came in the signature beside it.
func (s *Server) released(c *gin.Context, released signer.Released) {
	if released.Record.Unseen && !accepts(c, typeDER) {
		w := newAnswer(len(released.Signature))
		w.signature(signatureAnswer{released.Signature, receiptOf(released)})
		w.send(c)
		return
	}
	b, err := json.Marshal(receiptOf(released))
	if err != nil {
		refuse(c, s.problem(c.Request.Context(), err))
		return
	}
	c.Header("Sealkeeper-Receipt", string(b))
	kind := mediaTypes[released.Record.Kind]
	if released.Record.Unseen {
		kind = typeDER
	}
	whole(c, kind, released.Document)
}

// mediaTypes are what sealed documents come back as.
var mediaTypes = map[string]string{signer.KindOFD: "application/ofd", signer.KindPDF: "application/pdf", signer.KindCMS: "application/pkcs7-mime"}

// readSignature takes both forms of body.
func (s *Server) readSignature(c *gin.Context) (signer.Request, error) {
	key, err := idempotencyKey(c)
	if err != nil {
		return signer.Request{}, err
	}
	kind, params, _ := mime.ParseMediaType(c.GetHeader("Content-Type"))
	switch kind {
	case "application/json":
		raw, err := s.readBody(c, s.cfg.Limits.JSON)
		if err != nil {
			return signer.Request{}, err
		}
		var r signatureRequest
		if err := strictJSON(raw, &r); err != nil {
			return signer.Request{}, err
		}
		d, err := r.digest(nil)
		if err != nil {
			return signer.Request{}, err
		}
		return r.toUse(key, d, nil)
	case "multipart/form-data":
		return s.readMultipart(c, key, params["boundary"])
	}
	return signer.Request{}, transport[http.StatusUnsupportedMediaType].problem("want application/json or multipart/form-data", "")
}

// readMultipart takes the parts "request" and "document", once each, in this order.
func (s *Server) readMultipart(c *gin.Context, key, boundary string) (signer.Request, error) {
	mr := multipart.NewReader(http.MaxBytesReader(c.Writer, c.Request.Body, s.cfg.Limits.Document+s.cfg.Limits.JSON), boundary)
	raw, err := s.readPart(mr, "request", s.cfg.Limits.JSON)
	if err != nil {
		return signer.Request{}, err
	}
	document, err := s.readPart(mr, "document", s.cfg.Limits.Document)
	if err != nil {
		return signer.Request{}, err
	}
	if _, err := mr.NextPart(); err != io.EOF {
		return signer.Request{}, badRequest("more parts than request and document")
	}
	var r signatureRequest
	if err := strictJSON(raw, &r); err != nil {
		return signer.Request{}, err
	}
	d, err := r.digest(document)
	if err != nil {
		return signer.Request{}, err
	}
	return r.toUse(key, d, document)
}

func (s *Server) readPart(mr *multipart.Reader, name string, limit int64) ([]byte, error) {
	p, err := mr.NextPart()
	if err != nil {
		return nil, readError(err, "part "+name)
	}
	if p.FormName() != name {
		return nil, badRequest(fmt.Sprintf("part %.40q where %q was expected", p.FormName(), name))
	}
	b, err := io.ReadAll(io.LimitReader(p, limit+1))
	if err != nil {
		return nil, readError(err, "part "+name)
	}
	if int64(len(b)) > limit {
		return nil, tooLarge("part " + name)
	}
	return b, nil
}

func (s *Server) readBody(c *gin.Context, limit int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, limit))
	if err != nil {
		return nil, readError(err, "body")
	}
	return b, nil
}

func readError(err error, what string) error {
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		return tooLarge(what)
	}
	return badRequest(what + " cannot be read")
}

func badRequest(detail string) error { return transport[http.StatusBadRequest].problem(detail, "") }

func tooLarge(what string) error {
	return transport[http.StatusRequestEntityTooLarge].problem(what+" is over the limit", "")
}

// strictJSON refuses unknown fields and anything behind the value.
func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return transport[http.StatusUnprocessableEntity].problem(err.Error(), "")
	}
	if _, err := d.Token(); err != io.EOF { // More would let } and ] through
		return transport[http.StatusUnprocessableEntity].problem("bytes behind the JSON value", "")
	}
	return nil
}

func idempotencyKey(c *gin.Context) (string, error) {
	key := c.GetHeader("Idempotency-Key")
	blank := func(r rune) bool { return r < '!' || r > '~' }
	if key == "" || len(key) > 128 || strings.ContainsFunc(key, blank) {
		return "", transport[http.StatusUnprocessableEntity].problem("header Idempotency-Key, 1 to 128 printable ASCII characters without blanks, is needed", "")
	}
	return key, nil
}

type batchItem struct {
	Key string `json:"key"`
	signatureRequest
}

type batchOutcome struct {
	Key string `json:"key"`
	*signatureAnswer
	Problem *Problem `json:"problem,omitempty"`
}

// signBatch signs digests, one commit for all; each item has its own key, so a repeated batch gives the same bytes.
func (s *Server) signBatch(c *gin.Context) {
	ctx, who := c.Request.Context(), callerOf(c)
	items, uses, err := s.readBatch(c)
	if err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	outcomes, err := s.use.Signer.SignBatch(ctx, who, uses)
	if err != nil {
		c.Set(recordedKey, signer.Recorded(err))
		refuse(c, s.problem(ctx, err))
		return
	}
	if accepts(c, typeBatch) {
		w := newAnswer(64 << 10)
		if err := w.frame(items, outcomes, func(err error) *Problem { return s.problem(ctx, err) }); err != nil {
			refuse(c, s.problem(ctx, err))
			return
		}
		w.sendAs(c, typeBatch)
		return
	}
	w := newAnswer(len(items) * 24 << 10)
	w.text(`{"outcomes":[`)
	for i, o := range outcomes {
		if i > 0 {
			w.text(",")
		}
		w.outcome(s.batchOutcome(ctx, items[i].Key, o))
	}
	w.text("]}")
	w.send(c)
}

func (s *Server) batchOutcome(ctx context.Context, key string, o signer.Outcome) batchOutcome {
	if o.Err != nil {
		return batchOutcome{Key: key, Problem: s.problem(ctx, o.Err)}
	}
	return batchOutcome{Key: key, signatureAnswer: &signatureAnswer{o.Released.Signature, receiptOf(*o.Released)}}
}

func (s *Server) readBatch(c *gin.Context) ([]batchItem, []signer.Request, error) {
	if _, err := idempotencyKey(c); err != nil {
		return nil, nil, err
	}
	raw, err := s.readBody(c, s.cfg.Limits.JSON)
	if err != nil {
		return nil, nil, err
	}
	var in struct {
		Items []batchItem `json:"items"`
	}
	if err := strictJSON(raw, &in); err != nil {
		return nil, nil, err
	}
	if len(in.Items) == 0 || len(in.Items) > s.cfg.Limits.Batch {
		return nil, nil, transport[http.StatusUnprocessableEntity].problem(fmt.Sprintf("a batch holds 1 to %d items", s.cfg.Limits.Batch), "")
	}
	uses := make([]signer.Request, len(in.Items))
	for i, it := range in.Items {
		d, err := it.digest(nil)
		if err != nil {
			return nil, nil, err
		}
		if uses[i], err = it.toUse(it.Key, d, nil); err != nil {
			return nil, nil, err
		}
	}
	return in.Items, uses, nil
}

// describeSignatures enters the two gin routes into the OpenAPI document.
func (s *Server) describeSignatures() {
	reg := s.routes.OpenAPI().Components.Schemas
	request := huma.SchemaFromType(reg, typeOf[signatureRequest]())
	done := &huma.Response{Description: "Signed. The sealed document with its receipt in the header Sealkeeper-Receipt; where a digest came in, SES_Signature or SignedData with the receipt beside it.",
		Content: map[string]*huma.MediaType{"application/ofd": {}, "application/pdf": {}, "application/pkcs7-mime": {}, "application/json": {Schema: huma.SchemaFromType(reg, typeOf[signatureAnswer]())},
			typeDER: {Schema: &huma.Schema{Type: "string", Format: "binary", Description: "Where a digest came in and Accept names this type: the signature itself, the receipt in the header Sealkeeper-Receipt"}}}}
	s.describe("/v1/signatures", "make-signature", "Have a seal sign a document, or a document's digest", map[string]*huma.MediaType{
		"application/json": {Schema: request},
		"multipart/form-data": {Schema: &huma.Schema{Type: "object", Required: []string{"request", "document"}, Properties: map[string]*huma.Schema{
			"request": request, "document": {Type: "string", Format: "binary"}}}},
	}, done)
	s.describe("/v1/signatures/batch", "make-signatures", "Have seals sign up to 100 document digests in one commit; each item carries its own key and can be repeated alone", map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Type: "object", Properties: map[string]*huma.Schema{"items": {Type: "array", Items: huma.SchemaFromType(reg, typeOf[batchItem]())}}}},
	}, &huma.Response{Description: "Outcomes in the order of the items", Content: map[string]*huma.MediaType{"application/json": {}, typeBatch: {Schema: &huma.Schema{Type: "string", Format: "binary", Description: frameText}}}})
}
