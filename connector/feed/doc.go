// Package feed reads a numbered feed of signed messages in order.
//
// Its one promise: every message of the feed is taken, or waits by name for a human, and nothing is taken before what must come first. The source
// numbers its messages 1, 2, 3 …; a number that is missing stops the reading until the source gives it. A message that cannot be taken is held, and
// where the feed is ordered so is what comes later about the same entity; messages of one entity are then tried by the time their source gave
// them, so that two that came in the wrong order right themselves and nothing else does.
//
// What is held is kept by its number, never by its content: the source is asked for it again.
//
// Limits: it knows signatures and entities only through the functions it is given. A message may be taken more than once; taking must be idempotent.
package feed
