// Package hsm owns one PKCS#11 module: slot, login, session pool, epochs and mechanisms.
//
// It is the only importer of miekg/pkcs11 and crypto11, and its one promise is that handles, mechanism numbers and CKR codes never
// leave it: callers exchange the messages of this file's neighbours. What a device does differently comes from its firmware
// profile, never from a branch on a vendor (law 9).
package hsm
