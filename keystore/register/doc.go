// Package register keeps what the bureau has issued: seals (印章库), impressions (印模库) and the orders that join them, each with its
// state and the table of states that may follow.
//
// Its one promise: an impression leaves this package in the clear only for a purpose from a closed list, after the record of that
// reading is durable (law 5). Everything else are values: methods that change something return a Draft, pieces for the caller's own
// commit, so that a seal, its certificate, its key and the records of all three become durable together or not at all.
//
//	collections   seal (small, hot) · esl · seal-certificate · seal-filing · order · impression · impression-data (encrypted)
//	unique        seal number · filing number · seal code · digest of an impression
//
// Limits: no workflow lives here (package issuance has it), no key is used but the token key of the year that seals data keys, and no
// picture is decoded. Seals are never deleted.
package register
