/*
 * A PKCS#11 module for tests that behaves as a firmware profile says a device
 * does: its numbers, what its mechanisms take and return, how it shows keys,
 * what it refuses. It stands in front of the SM2 test module, which keeps the
 * keys and computes. It calls itself simulated wherever it is asked.
 *
 * What it is comes from a file of lines beside the library, named as the
 * library with .profile behind, which Go writes (lines.c says the format).
 */
#ifndef SEALKEEPER_SIMULATOR_H
#define SEALKEEPER_SIMULATOR_H

#include <p11-kit/pkcs11.h>

#include <stdbool.h>
#include <stddef.h>

/* The mechanisms of the SM2 test module behind. */
#define BEHIND_KEY_PAIR_GEN (CKM_VENDOR_DEFINED | 0x8001UL)
#define BEHIND_MESSAGE (CKM_VENDOR_DEFINED | 0x8100UL)
#define BEHIND_E (CKM_VENDOR_DEFINED | 0x8105UL)

#define FIELD 32   /* bytes of e, r, s and of a coordinate */
#define OID_LEN 10 /* DER of the SM2 curve's OID */
#define SIGNATURE_MAX 128
#define LIST_MAX 32

enum input { INPUT_E32, INPUT_NO_Z, INPUT_Z_DEFAULT, INPUT_Z_PARAM };
enum form { FORM_RAW64, FORM_DER, FORM_DER_LENIENT, FORM_RAW128 };
enum point { POINT_DER_OCTET, POINT_RAW65, POINT_RAW64, POINT_DER_BIT, POINT_XY };

struct sign_mechanism {
	CK_MECHANISM_TYPE type;
	enum input input;
	enum form form;
};

struct list {
	CK_ULONG value[LIST_MAX];
	size_t count;
};

struct device {
	char behind[512]; /* path of the SM2 test module */
	char library_manufacturer[33], library_description[33], token_manufacturer[33], token_model[17];
	CK_VERSION library_version, firmware;
	CK_ULONG user_type, max_sessions, max_frame;
	CK_ULONG key_type, key_pair_gen;
	bool params_in_template, type_in_template;
	CK_ULONG bits, value, x, y; /* the vendor's attributes; 0 = none */
	enum point point;
	struct sign_mechanism sign[LIST_MAX];
	size_t sign_count;
	struct list standard;   /* mechanisms passed on */
	struct list listed;     /* mechanisms in the list that do nothing */
	struct list unreadable; /* attributes the token does not report */
	struct list refused;    /* attributes it takes in no template */
};

extern struct device device;
extern CK_FUNCTION_LIST_PTR behind; /* set once, before any call */

/* lines.c */
bool device_read(const char *path, char *error, size_t size);

/* info.c */
bool listed(const struct list *l, CK_ULONG value);
const struct sign_mechanism *sign_mechanism(CK_MECHANISM_TYPE type);
void sessions_forget(void);
void info_replace(CK_FUNCTION_LIST *t);

/* objects.c */
extern const CK_BYTE curve_oid[OID_LEN];
void objects_replace(CK_FUNCTION_LIST *t);

/* form.c */
size_t form_size(enum form form); /* the most bytes a signature has */
size_t form_write(enum form form, const unsigned char rs[2 * FIELD], unsigned char out[SIGNATURE_MAX]);
bool form_meets_fault(const unsigned char rs[2 * FIELD]); /* whether the DER of der-lenient turns a number negative */
size_t point_write(enum point form, const unsigned char point[2 * FIELD + 1], unsigned char *out);

/* sign.c */
void sign_drop(CK_SESSION_HANDLE session);
void sign_clear(void);
void sign_replace(CK_FUNCTION_LIST *t);

#endif
