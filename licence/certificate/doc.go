// Package certificate is the certificate library (市场主体电子证照库): permits and other certificates of enterprises, linked to the business
// licence by the holder's credit code.
//
// Its one promise: what a department once stated of a certificate is never overwritten, and nobody but the department whose catalogue entry
// names the certificate's type can state anything. Rows carry when they took effect and when they were recorded, so both "what held then" and
// "what was known then" have an answer.
//
//	catalogue (who issues what) ─► Put · SetStatus · Confirm ─► rows, appended ─► At(as of, known at)
//	sharing grant + purpose ─► Share ─► record, durable ─► licence + certificates
//
// A certificate is checked against one version of its holder's licence. When a later version differs in a field that its type watches, it is
// flagged until its department confirms or replaces it. Flags are worked out from the two libraries when somebody asks: a licence event writes
// nothing here, and no flag can be lost.
//
// Limits: 500 certificates of one holder, files of 2 MiB. Files are kept as they came; who doubts one has it verified as any document.
package certificate
