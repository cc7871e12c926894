package api

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var updateProblems = flag.Bool("update-problems", false, "write docs/problems.md anew")

const problemsDocument = "../docs/problems.md"

// everyKind collects all kinds of the package by code and demands that one code has one meaning.
func everyKind(t *testing.T) map[string]kind {
	t.Helper()
	all := map[string]kind{}
	for _, k := range append(slices.Clone(table), append(slices.Collect(maps.Values(transport)), internal, noCertificate, unknownClient, tooMany, busy, timeout, noStamps, noPage, tooFast)...) {
		if was, seen := all[k.code]; seen && (was.status != k.status || was.zh != k.zh || was.en != k.en) {
			t.Errorf("code %s has two meanings: %d %s %s, and %d %s %s", k.code, was.status, was.zh, was.en, k.status, k.zh, k.en)
		}
		all[k.code] = k
	}
	return all
}

const problemsHead = `# Problem codes

Every refusal over HTTP is ` + "`application/problem+json`" + ` (RFC 9457). The code is stable and is what a program should look at; it is repeated in the header
` + "`Sealkeeper-Code`" + `. ` + "`request_id`" + ` names the request in the daemon's log: quote it when you ask for help. A refusal changed nothing and released no
signature (` + "`unknown-outcome`" + ` alone cannot say); when the caller was known, it stands in the record.

` + "```" + `json
{
  "type": "urn:sealkeeper:problem:approval-missing", "code": "approval-missing",
  "title": "缺少用章人授权", "title_en": "The owner's approval is missing",
  "status": 403, "request_id": "4f1d2c3b4a596877"
}
` + "```" + `

` + "`Retry-After`" + ` (seconds) stands where repeating by itself can help. A repeated call must carry the same ` + "`Idempotency-Key`" + ` and the same body. Inside the
answer to a batch the same objects stand beside the item that was refused.

| code | status | retry | 标题 | title | what to do |
|---|---|---|---|---|---|
`

// TestProblemsDocument compares docs/problems.md with the tables of this package; -update-problems writes it anew.
func TestProblemsDocument(t *testing.T) {
	all := everyKind(t)
	var b strings.Builder
	b.WriteString(problemsHead)
	for _, code := range slices.Sorted(maps.Keys(all)) {
		k := all[code]
		todo := remedies[code]
		if todo == "" {
			t.Errorf("nobody says what to do about %s", code)
		}
		retry := ""
		if k.retry > 0 {
			retry = fmt.Sprintf("%d s", k.retry)
		}
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s | %s | %s |\n", code, k.status, retry, k.zh, k.en, todo)
	}
	for code := range remedies {
		if _, known := all[code]; !known {
			t.Errorf("what to do about %s is said, but no such code exists", code)
		}
	}
	if *updateProblems {
		if err := os.WriteFile(problemsDocument, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(problemsDocument)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Errorf("docs/problems.md is stale: go test ./api -run TestProblemsDocument -update-problems")
	}
}

// remedies says what the caller, or whoever runs the appliance, does about each code.
var remedies = map[string]string{
	"nothing-to-apply":           "Look at the enterprise's seals and orders: what the set asks for is there, or waits.",
	"no-notice-system":           "Connect one (`connectors.systems`, `notice`), or tell the enterprises in another way.",
	"not-dead-letter":            "Wait: it is delivered by itself. `sealctl outbox list QUEUE --state waiting` shows when it is due.",
	"no-reason":                  "Say why.",
	"outside-system":             "Try again later; `sealctl outbox systems` shows which systems answer.",
	"not-entitled":               "Use the certificate of a client that may do this, or ask a security operator for a grant. The answer is the same for a seal that does not exist.",
	"seal-equipped":              "Sign with profile pades or rfc: the key is there. A new one is made when its certificate is over.",
	"no-document-authority":      "Connect the appliance's P-256 authority (tls.client_ca and its key), or sign with profile gm.",
	"key-blob-refused":           "The store's record of this seal's key was changed or the disk is failing; nothing was signed. Compare the store with a backup, and look for who wrote to it.",
	"no-wrapping-key":            "Make the next wrapping key by ceremony; orders that wait are made by themselves afterwards.",
	"wrapping-unproven":          "Run `sealctl token probe` on the device and use the profile that it prints, or set `custody.seals: resident`.",
	"token-key-exists":           "Look at the token with pkcs11-tool: another store's key has the name. Destroy it by ceremony, or repeat: a fresh name is taken.",
	"token-refused":              "Repeat with the same Idempotency-Key. When it refuses again, the daemon's log has the token's own code.",
	"key-inside":                 "Ask for the signature itself: `POST /v1/signatures`, `sealctl sign` without --seal-key.",
	"key-outside":                "Sign where the owner's token is: `sealctl sign … --seal-key PREFIX.key.yaml`.",
	"reservation-void":           "Repeat the command with the same Idempotency-Key: a new reservation is made, or the answer that was released is given again.",
	"too-many-reservations":      "Finish or leave those that are open: each ends by itself after two minutes. Then again.",
	"signature-wrong":            "Use the token that holds the seal's key; `sealctl seal show` names its serial. Then reserve again.",
	"key-uncertified":            "Leave this seal's key to the appliance: with an outside certificate authority, seals in their owner's token are not made yet.",
	"key-enrolment":              "Make the key anew with `sealctl token enrol --seal`; the detail says what does not hold.",
	"no-document-key":            "Have a security operator make one: `sealctl seal document-key ESID`. Or sign with profile gm.",
	"no-revocation-list":         "Fetch the list from the address that the certificate names (CRL distribution point).",
	"no-time-stamp-authority":    "Name an outside authority (`tsa.url`), or make the appliance with `seald init`, which makes one. Or leave `timestamp` out.",
	"time-stamp-unavailable":     "Repeat with the same Idempotency-Key. Whoever runs the appliance looks at the authority, or decides `tsa.when_down: sign-without`.",
	"no-backup-folder":           "Set `backup.folder` and `backup.recipients` in the configuration.",
	"disk-full":                  "Make space on the disk of the store (`store.reserve` says how much must stay free). Everything goes on by itself then; nothing that was acknowledged is lost.",
	"checkpoint-overdue":         "Bring back what `/readyz` names under `log`: the token of the audit key, or the anchor's disk. Signing goes on by itself with the next checkpoint.",
	"no-public-pages":            "Set `pages` in the configuration, or leave `qr` out.",
	"no-signature-page":          "Read the address again. Pages are never listed, and there is none for a signature whose request did not ask for one.",
	"no-time-stamps":             "Ask another authority; this appliance was made without one.",
	"keyword-not-found":          "Look at the spelling and the pages: the word must stand in one line of the text layer. A scanned page has none; place a stamp by its millimetres.",
	"too-many-stamps":            "Name fewer pages, or one occurrence of the keyword.",
	"placement":                  "Mend the item that the detail names: its size, edge, pages or count.",
	"pdf-not-pdf":                "Send a PDF document.",
	"pdf-tail":                   "The file is cut, or something stands behind its end. Send it again, or write it anew with a common tool.",
	"pdf-xref":                   "Write the document anew with a common tool (qpdf IN OUT): readers would repair it differently.",
	"pdf-object":                 "Write the document anew with a common tool.",
	"pdf-syntax":                 "Mend the producer; the detail says where.",
	"pdf-depth":                  "Mend the producer: no document nests this deeply.",
	"pdf-limit":                  "Send the document in parts.",
	"pdf-filter":                 "Write the document anew with a common tool.",
	"pdf-encrypted":              "Send the document without encryption.",
	"pdf-xfa":                    "Print the form into a plain PDF first.",
	"pdf-page-tree":              "Write the document anew with a common tool.",
	"pdf-page-box":               "Give the page a usable size.",
	"pdf-form":                   "Mend the form that the detail names.",
	"pdf-certified":              "Seal the document as it was before that signature, or seal another copy.",
	"pdf-certify":                "Certify before anybody signs.",
	"pdf-reserve":                "The outside time-stamp authority answers with more than 16 KiB. Leave `timestamp` out, or connect another.",
	"pdf-not-prepared":           "Prepare it with `sealctl pdf prepare`.",
	"pdf-request":                "Mend the name, reason, location or picture that the detail names.",
	"approval-missing":           "Have the owner approve this very request, or name a registered delegation.",
	"approval-replayed":          "Each approval counts once. Have the owner approve again, under a new Idempotency-Key.",
	"approval-altered":           "The approval was changed on its way or was not signed by the device it names. Have the owner approve again.",
	"approval-expired":           "Have the owner approve again. If it happens at once, compare the clocks.",
	"approval-foreign":           "Approve exactly this: the same Idempotency-Key, seal, document, stamps, purpose and client, by the device bound now.",
	"approval-form":              "Build the approval as docs/approval.md says, byte by byte; its test vectors show where it differs.",
	"delegation-spent":           "Have the owner sign a new delegation, or approve this one use.",
	"delegation-out-of-bounds":   "Stay within purposes, kinds and window of the delegation; it also ends when it is withdrawn or another device is bound. The answer is the same for one that does not exist.",
	"delegation-refused":         "The legal representative's seal is used with an approval each time.",
	"delegation-exists":          "Choose another identifier; a delegation is never changed.",
	"grant-window":               "Wait until the grant begins, or ask a security operator for a new one.",
	"grant-spent":                "Ask a security operator for a new grant.",
	"grant-form":                 "Complete the grant: client, seals or any owner, kinds, purposes, window, count.",
	"grant-exists":               "Choose another identifier; a grant is withdrawn, never overwritten.",
	"digest-only":                "Send the document itself (kind `ofd`), or ask for a grant that allows unseen documents. For the legal representative's seal there is no such grant.",
	"no-device":                  "The enterprise collects its seals first, which binds its device.",
	"device-key":                 "Send a P-256 or SM2 public key as an uncompressed point of 65 bytes (P-256 also as SubjectPublicKeyInfo).",
	"assertion-form":             "Complete the identity assertion; the detail names the field.",
	"assertion-foreign":          "The assertion is for another enterprise, another appliance, or a role that may not take seals over. Ask for one for this collection.",
	"assertion-expired":          "Ask the licence system for a new assertion; it lives 15 minutes.",
	"assertion-replayed":         "Ask the licence system for a new assertion.",
	"client-form":                "Send a PEM certificate request for a P-256 key, signed by that key, with name and role; operators also need a person.",
	"client-exists":              "This key is registered. Use it, or make a new key for the new client.",
	"two-roles":                  "Give the second role to another person.",
	"unknown-record":             "Check the identifier.",
	"message-unsigned":           "Sign the envelope.",
	"message-signature":          "The signature is not by the key pinned in `sources` for this kind of message, or the message was changed. Check key and bytes at the sender.",
	"message-payload":            "The signed payload does not fit its kind; the detail names the field. Mend the sender: nothing is guessed here.",
	"receipt-form":               "Send file_sm3 (64 hexadecimal digits), purpose and biz_no; the detail names the field.",
	"no-receipts":                "This appliance was founded without a key for statements. Its operators make one.",
	"licence-file-unknown":       "Verify the file first (`POST /v1/licences/verify`): one from elsewhere is archived then.",
	"licence-file-known":         "The same bytes stand in the archive under another code or version; ask the operators.",
	"licence-file-size":          "A licence file has at most 4 MiB.",
	"uscc-invalid":               "Check the 18 characters against GB 32100; the detail says what is wrong.",
	"uscc-synthetic":             "Production takes no codes made up for tests.",
	"uscc-not-synthetic":         "A demo appliance takes no codes that could be a real enterprise's.",
	"event-kind":                 "Send one of established, changed, dormant, restored, revoked, cancelled, annulled, moved_out, flagged.",
	"event-form":                 "Complete the event; the detail names the field.",
	"event-future":               "Compare the clocks of sender and appliance.",
	"event-order":                "Send events of an enterprise in their order; the library holds a later one already.",
	"event-reused":               "Give each event its own identifier. The same event again, unchanged, is fine.",
	"licence-transition":         "The licence's status does not allow this event, for example a change after the cancellation. Look at its versions.",
	"licence-fields":             "Complete or shorten the field that the detail names.",
	"licence-query":              "name exactly one of name (its beginning), status and division (two, four or six digits)",
	"licence-line":               "send one signed licence event a line, and at most 1,000 events a call",
	"licence-status":             "Map the sender's status to one of the table.",
	"licence-unknown":            "No licence with this code is in the library. Check the code.",
	"licence-inactive":           "The enterprise's registration does not allow its seals to be used or collected. Only a licence event changes that.",
	"seal-inactive":              "The detail names the state. A made seal is collected first; a suspended one is resumed by whoever may; an ended one is replaced.",
	"seal-certificate":           "Seal or certificate is not valid now. Order the seal anew.",
	"institutional-seal":         "Name a standing delegation of yours for this seal as `delegation` (GET /v1/standing-delegations), and no approval. Officers make one by a ceremony, delegate-standing.",
	"paper-not-issued":           "The detail says what it waits for: an institution's seal and a standing delegation for the appliance over it (docs/papers.md). Licences that were imported, or have ended, get no document.",
	"not-institutional":          "Only who has no licence files the impression of a seal of its own, of a type of the table other than 05, once for each seal; an enterprise's seals come by order.",
	"request-form":               "Complete the request; the detail says what is missing or contradicts itself.",
	"batch-size":                 "Send 1 to 100 requests in one batch.",
	"signature-unknown":          "Check the index; you see your own signatures only.",
	"record-mismatch":            "The record does not give this document any more: it is another document, or damage. Call an audit operator.",
	"seal-type-not-in-set":       "File impressions only of the types that the order names.",
	"name-differs":               "Filing and licence must name the same enterprise. Correct the filing, or wait for the licence event of a renaming.",
	"impression-format-stated":   "State the format that the picture has.",
	"no-open-order":              "Send the licence event first; without it nobody waits for the impression.",
	"order-exception":            "A system operator looks at the order and resolves it; until then nothing is made. The order says what was wrong.",
	"impression-already-filed":   "This type was filed. A re-engraved seal comes as a new order.",
	"payload-too-large":          "Send a picture of at most 2 MiB.",
	"resolution":                 "Choose a resolution that fits what the order waits for, with a reason.",
	"person-not-confirmed":       "The responsible person goes through the real-name and face check, then collects with a fresh assertion.",
	"person-check-unavailable":   "Nothing was bound. Try again with the same assertion while it is valid; the provider is down or answers wrongly.",
	"certificate-pending":        "Nothing is lost: the order waits for the certificate authority and is made by itself.",
	"certificate-refused":        "The certificate authority refused to certify the key. An operator looks at the order.",
	"certificate-wrong":          "The certificate authority answered with another certificate. An operator looks at the order.",
	"order-not-complete":         "Wait until every impression of the set has been filed.",
	"nothing-to-collect":         "The seals were collected before, or are not made yet. Look at the order.",
	"not-responsible-person":     "The person named by the assertion must be the one on the licence. After a change, the licence event comes first.",
	"maker-expired":              "Renew the seal maker's certificate in a ceremony, or shorten `issuance.seal_years`.",
	"impression-too-many-pixels": "Send the picture at 600 dots per inch or less.",
	"impression-too-large":       "Send a smaller file.",
	"impression-truncated":       "Send the picture again, whole.",
	"impression-format":          "Send a PNG, BMP or JPEG.",
	"impression-size":            "Scan at the size of the physical seal; the detail gives both sizes.",
	"impression-aspect":          "Crop the picture to the seal; the detail gives both ratios.",
	"impression-resolution":      "Scan with at least 300 dots per inch.",
	"impression-colour":          "Send the impression in its own colour; 01, 02 and 03 are red.",
	"impression-blank":           "The picture shows no seal. Send the right one.",
	"impression-derive":          "The background cannot be made transparent without changing the seal. Send a cleaner scan.",
	"filing-form":                "Complete the filing; the detail names the field.",
	"filing-reused":              "Use a new filing number. The same filing again, unchanged, is fine.",
	"seal-code-taken":            "Another filing has this seal code. Check the code.",
	"impression-taken":           "The picture belongs to another enterprise. Somebody mixed them up: check before anything else.",
	"not-ordered":                "The order does not wait for this type. Look at the order.",
	"seal-reissued":              "Collect the next edition, or end its order first: `sealctl order list --uscc USCC` shows it.",
	"no-seal-of-filing":          "Compare the filing number. Seals that ended are not touched by a notice.",
	"seal-notice-form":           "Send the fields that docs/connectors/public-security.md lists.",
	"seal-notice-reused":         "Give every notice an identifier of its own; the same notice again may be sent at any time.",
	"seal-held":                  "Nothing to do: the seal is suspended for that reason already.",
	"seal-not-held":              "Name the reason for which the seal is suspended.",
	"seal-transition":            "The present state has no way to the one asked for. Look at the seal or order.",
	"reason-code":                "Use a reason that leads to what you want.",
	"wrong-role":                 "The reason may be given, or the hold lifted, only by the role that the detail names.",
	"evidence":                   "Name the decision that this rests on, in at most 256 characters.",
	"ofd-not-zip":                "Send an OFD document.",
	"ofd-zip-structure":          "Write the package anew with a common tool: its directory and its entries contradict each other.",
	"ofd-entry-data":             "The file is damaged. Send it again.",
	"ofd-entry-name":             "Rename the entry: no absolute path, no `..`, no backslash, no control character.",
	"ofd-entry-kind":             "Leave links and devices out of the package.",
	"ofd-duplicate":              "Two entries or identifiers have one name; readers would disagree. Mend the producer.",
	"ofd-encrypted":              "Send the document without encryption.",
	"ofd-method":                 "Write the package with Store or Deflate.",
	"ofd-bomb":                   "The package expands out of proportion. If it is honest, send it in parts.",
	"ofd-too-many-entries":       "Send the document in parts.",
	"ofd-entity":                 "Leave document type definitions out of the XML.",
	"ofd-depth":                  "Mend the producer: no document nests this deeply.",
	"ofd-xml":                    "Mend the XML part that the detail names.",
	"ofd-path":                   "Mend the location that the detail names: it leaves the package.",
	"ofd-doc-root":               "Mend OFD.xml: DocRoot must lead to a document of the package.",
	"ofd-missing-part":           "Add the part that the detail names.",
	"ofd-page-box":               "Give the page a usable size.",
	"ofd-too-many-pages":         "Send the document in parts.",
	"ofd-several-documents":      "Send one document in one package.",
	"ofd-integrity-list":         "The package forbids additions (GM/T 0099). Seal it before the list is written.",
	"ofd-earlier-signature":      "An earlier signature is broken already. Nothing is sealed on top; start from the unbroken document.",
	"ofd-text":                   "Place the seal by coordinates, or name the pages that the keyword is on.",
	"ofd-not-prepared":           "Embed into what `sealctl ofd prepare` wrote, and only once.",
	"ofd-whole-document":         "An earlier signature protects the whole document; another one would break it. Sign in the intended order.",
	"stamp-outside":              "Place the stamp within the page.",
	"stamp":                      "Give each stamp a page, a place and a size in millimetres; the detail says what is wrong.",
	"no-such-page":               "Pages count from 1.",
	"ofd-request":                "The detail says what in the request is not usable.",
	"no-proof":                   "The log has no such record or size yet. Take the size of a checkpoint.",
	"operator-by-ceremony":       "Write a plan with the action register-operator, hand it in as security officer (`sealctl ceremony draft`), and have another officer approve it.",
	"ceremony-plan":              "Correct the plan: the detail names what is wrong. `sealctl ceremony check PLAN` tells before it is handed in.",
	"ceremony-foreign":           "Write this appliance's name into the plan (`audience` of its configuration; `sealctl ceremony show` of an earlier plan has it).",
	"ceremony-exists":            "Look at it: `sealctl ceremony show ID`. To do the same again, write another title or expiry: each plan is carried out once.",
	"ceremony-role":              "Have an officer of the right role do it: docs/ceremony.md has the table.",
	"ceremony-own-request":       "Another person approves.",
	"ceremony-approved-twice":    "Another person approves; each counts once, whatever key they use.",
	"ceremony-approval":          "Read the plan as the appliance has it (`sealctl ceremony show`), then sign that one with the key of your own certificate (`sealctl ceremony approve`).",
	"ceremony-expired":           "Hand in a plan with a later end and have it approved anew.",
	"ceremony-too-few-approvals": "Wait for further officers: those whose approval is over, or who were disabled since, do not count.",
	"ceremony-executed":          "Nothing: read its transcript. To do it again takes a new plan.",
	"ceremony-abandoned":         "Hand in a new plan.",
	"ceremony-begun":             "Execute it again to its end, or abandon it.",
	"ceremony-altered":           "Nothing was carried out. Somebody wrote into the store file: compare it with a backup, and have the log verified.",
	"ceremony-no-act":            "Leave the step out, or use a version and a configuration that can.",
	"ceremony-refused":           "The detail says why. Mend it and execute again, or abandon the ceremony.",
	"two-operators":              "A second operator of the other role repeats the call.",
	"idempotency-key-reused":     "Use a fresh key for a new request; repeat an old request unchanged.",
	"conflict":                   "Look at the record again and repeat.",
	"limit-spent":                "Ask for a new grant or delegation.",
	"cursor":                     "Begin the listing anew, or pass `next` exactly as it came.",
	"read-only":                  "`sealctl health` names the reason. After a rollback two operators re-synchronise (docs/operating.md).",
	"clock":                      "An operator compares the clock and accepts it: `sealctl clock accept`.",
	"unavailable":                "Repeat. If it stays, look at the disk and at the daemon's log.",
	"unknown-outcome":            "Repeat with the same Idempotency-Key: whatever happened, the answer is right.",
	"fenced":                     "Ask the node that has taken over.",
	"token-interrupted":          "Repeat with the same `Idempotency-Key`: a new process serves it. When it comes back again and again, the daemon's log names the call and the signal; the vendor of the module wants both.",
	"pin-latched":                "An operator corrects the PIN file, removes the latch file and restarts (docs/operating.md). Nothing tries the PIN until then.",
	"token-gone":                 "Put the token back; the daemon goes on by itself.",
	"token-logged-out":           "Repeat. If it stays, restart the daemon.",
	"token-busy":                 "Repeat after a second; if it is the rule, raise `token.sessions`.",
	"token-signature-wrong":      "The token answered with a signature that does not verify; it was discarded. Take the token out of service and call its vendor.",
	"certificate-identifier":     "Correct the identifier; the detail names its part. The last character is the check character of GB/T 36904.",
	"certificate-form":           "Correct the field that the detail names.",
	"certificate-type":           "Compare with `GET /v1/certificate-catalogue`; whoever keeps the catalogue adds the issuer, attribute or file.",
	"certificate-file":           "Send the certificate's OFD or PDF, at most 2 MiB, and its own SM3 if any.",
	"certificate-holder":         "Compare credit code and name with the licence; the name must be one that the licence has or had.",
	"certificate-full":           "Tell an operator: 500 certificates of one enterprise or 1,000 rows of one certificate are more than the library keeps.",
	"certificate-sequence":       "Read the certificate and issue its next version: one more than the last, 001 for a new one.",
	"certificate-transition":     "Read the certificate's present state; after revoked, cancelled and annulled only a certificate issued anew follows.",
	"certificate-licence-moved":  "Read the licence as it is now, decide again, and confirm that version.",
	"certificate-query":          "Ask by exactly one of `uscc` and `type` (21 characters).",
	"certificate-unknown":        "Compare the identifier, or the time asked about.",
	"no-statement-key":           "The appliance was founded without this key: `pki.statement` names the certificate of one.",
	"no-entity-pages":            "An operator sets `pages` in the configuration.",
	"no-entity-code":             "Scan the code again; a system operator or the licence system issues one where there is none.",
	"presentation-choice":        "Choose among the attributes that the detail lists, and certificates that the enterprise has.",
	"presentation-code":          "Scan the code again: it begins with `SK1.`.",
	"presentation-foreign":       "Ask the holder for a code made for you, or ask the appliance that the code names.",
	"presentation-altered":       "Do not trust what was shown; ask the holder for a new code.",
	"presentation-expired":       "Ask the holder for a new code.",
	"presentation-redeemed":      "Ask the holder for a new code; the holder sees who redeemed this one.",
	"presentation-purpose":       "Say what for, in 1 to 64 characters; the holder sees it.",
	"too-fast":                   "Wait a second and ask again.",
	"bad-request":                "Mend the request; the detail says where it cannot be read.",
	"invalid-fields":             "Mend the fields that `errors` lists. Unknown fields are refused.",
	"body-too-large":             "Send less: `limits.json` and `limits.document` of the appliance's configuration say how much.",
	"unsupported-media-type":     "Send `application/json`, or `multipart/form-data` with the parts `request` and `document`.",
	"not-acceptable":             "Accept `application/json`.",
	"no-such-route":              "See `/openapi.json`.",
	"method-not-allowed":         "See `/openapi.json`.",
	"timeout":                    "Repeat with the same Idempotency-Key.",
	"internal":                   "Report the request id; the daemon's log has the cause.",
	"no-client-certificate":      "Connect with your client certificate.",
	"unknown-client":             "A security operator registers the certificate's key, or it was disabled.",
	"too-many-requests":          "Wait a second and repeat, with fewer calls at once.",
	"busy":                       "Wait a second and repeat.",
}
