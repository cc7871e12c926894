// Package delivery carries the messages of the store's outbox to the systems outside, each at least once.
//
// Its one promise: a message that was committed reaches its receiver, or a human decides about it. Messages about one entity go in the order in which
// they were committed, one after the other; a message that its receiver refuses, or that nobody took for too long, becomes a dead letter, and what
// stands behind it about the same entity waits until an operator redelivers or discards it. Receivers know a repetition by its key.
//
//	outbox (same commit as the change) ─► intake: collection "delivery" ─► due? first of its entity? ─► Destination.Deliver
//	     ─► taken: gone, the next of the entity moves up   ─► down: later, with back-off   ─► refused, too old: dead letter
//
// Limits: it knows queues and bodies with a uscc and a kind, not what they mean. It works under the one writer of the store.
package delivery
