// Package audit appends records to the log, signs checkpoints of it, anchors them outside the store and proves what they contain.
//
// Its one promise: what was recorded cannot be changed or put back without a checkpoint, an anchor or a proof contradicting it. Nobody
// reads it to decide something.
package audit
