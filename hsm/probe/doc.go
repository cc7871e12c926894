// Package probe finds out by measurement what a PKCS#11 token does, and writes it down as a firmware profile.
//
// Its one promise: it tries only mechanisms that the token lists, in the vendor range or in a shipped profile, on keys it makes for the purpose, and
// destroys exactly what it made; whatever stayed is listed. What a signing mechanism was given and what it gave back is told apart by
// verifying each signature in software under every hypothesis:
//
//	input ─► C_Sign ─► bytes ─► read as raw64 | DER | DER without sign bytes | raw128 | little-endian
//	                              × e = input | SM3(input) | SM3(Z‖input) | SM3(Z of the given ID‖input)   ─► exactly one verifies, or unknown
//
// Keys are session objects where the token makes such; otherwise token objects labelled sealctl-probe-…. A last trial makes a key of each algorithm
// as the appliance would, through package hsm under the new profile.
//
// Limits: it says what this token did on this day. A rare fault shows only in many signatures, and their number is on record. Parameters that are
// structures of a vendor's own are not guessed at.
package probe
