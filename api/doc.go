// Package api turns an HTTP request into one use-case call and back.
//
// It is the only importer of gin and huma; no gin context leaves it. Its one promise: every refusal is a problem+json with a stable code, a
// Chinese and an English title and the request id, and no handler decides, signs or stores anything itself. JSON routes go through huma,
// documents through gin routes described in the same OpenAPI document.
package api
