// Package onecode makes the codes by which an enterprise shows itself (一码): one static code for the public, and presentation codes that show
// chosen things to one department, once.
//
// Its one promise: a presentation code is redeemed at most once, within its time by the appliance's own clock, by a registered department that is on
// record with its purpose before it sees anything; and the enterprise can see who that was.
//
//	entity code   ─► URL with an opaque name ─► Page: name, status, titles of certificates
//	device's wish ─► Present ─► code + statement ─► Redeem (one of many wins) ─► licence fields + certificates chosen
//
// A code is never trusted as data: it names a statement that the appliance's own key signed, and that statement is judged again when the code is
// redeemed.
//
// Limits: whoever photographs a presentation code that names no client can redeem it first, if it is a registered department; the holder sees who.
package onecode
