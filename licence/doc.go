// Package licence is the licence library (证照库): business licences keyed by the unified social credit code, as the registration system
// states them in signed events.
//
// Its one promise: a version of a licence, once stored, is never overwritten, and none enters but by an event signed with a pinned key.
// Prepare turns such an event into a Change, values for the caller's own commit, so that the licence, the order it opens and the records
// of both become durable together or not at all. Queries take the time they ask about.
//
//	signed event ─► Prepare ─► Change{Put, Expect, Audit} ─► the caller's commit
//	Standing (hot, small) · Current · At(as of) · Versions
//	licence file ─► ArchiveFile ─► FileChange{Put, Expect, Audit} ─► the caller's commit; File · FileBytes · FilesOf
//
// Limits: one entity's events must arrive in their order; effects lie never in the future. Certificates other than the business licence
// are package certificate's.
package licence
