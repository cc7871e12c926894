// Package doctor judges whether a token, as configured, can serve the appliance: numbered checks, each with what mends it.
//
// Its one promise: it changes nothing but throw-away keys of its own, which it destroys, and what Clean asks for: leftovers that carry the label of a
// probing. It never sends a PIN to a token that reports its last try, never against a latch, and never the same wrong PIN twice.
//
// Limits: it opens the module in this process, beside the daemon; many devices admit one application only. What a token does over weeks is not seen in a
// minute.
package doctor
