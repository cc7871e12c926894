// Package issuance takes a licence event to four collected seals: the workflow between the registration system's word, public security's
// impressions, the token's keys and the owner's phone.
//
// Its one promise: a set of seals comes into being in one commit with its keys, certificates, order, records and messages, or not at
// all; whatever is not in order stops with a named error, and where a human must decide the order waits as an exception, never repaired
// by itself.
//
//	Event ─► licence version + order + cascades to seals          one commit
//	File  ─► checks ─► impression + order                         one commit
//	Make        ─► intents ─► 4 keys ─► 4 certificates ─► 4 seals ─► release   one commit
//	Collect     ─► device bound + seals active                          one commit
//
// Limits: it asks keystore for keys and never sees a token; nothing is drawn; filing with public security goes out as messages, which
// hold nothing up.
package issuance
