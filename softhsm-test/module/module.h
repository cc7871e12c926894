/*
 * A PKCS#11 module for tests: Debian's SoftHSM2 with SM2 added.
 *
 * It forwards every call to SoftHSM2 and answers itself only what concerns SM2
 * keys. It protects the interface, not the secret: whoever has the PIN and
 * loads SoftHSM2 directly reads the keys. Test use only.
 */
#ifndef SEALKEEPER_MODULE_H
#define SEALKEEPER_MODULE_H

#include <p11-kit/pkcs11.h>
#include <openssl/evp.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Vendor mechanisms: base CKM_VENDOR_DEFINED + 0x8000, one public family. */
#define CKM_SM2_KEY_PAIR_GEN (CKM_VENDOR_DEFINED | 0x8001UL)
#define CKM_SM3_SM2 (CKM_VENDOR_DEFINED | 0x8100UL) /* message in, r||s out */
#define CKM_SM2_E (CKM_VENDOR_DEFINED | 0x8105UL)   /* e in, r||s out */

#define SM2_FIELD 32          /* bytes of d, e, r, s, and of a coordinate */
#define SM2_SIGNATURE 64      /* r||s */
#define SM2_POINT 65          /* 04 || X || Y */
#define SM2_ID_MAX 8191       /* GB/T 32918.2: its bit length fills two bytes */
#define SM2_PARAMS_LEN 10     /* DER of OID 1.2.156.10197.1.301 */
#define SM2_ALLOWED_MAX 8     /* CKA_ALLOWED_MECHANISMS entries kept per key */

extern const CK_BYTE sm2_params[SM2_PARAMS_LEN];

/* The function list of the SoftHSM2 underneath; set once, before any call. */
extern CK_FUNCTION_LIST_PTR inner;

/* curve.c: the arithmetic, on OpenSSL's EVP calls. */

struct sm2_key {
	atomic_int refs;
	EVP_PKEY *pkey;
	unsigned char point[SM2_POINT];
	CK_MECHANISM_TYPE allowed[SM2_ALLOWED_MAX]; /* none = all */
	size_t allowed_count;
};

enum pkcs8_kind { PKCS8_UNREADABLE, PKCS8_OTHER, PKCS8_SM2 };

bool sm2_scalar_valid(const unsigned char d[SM2_FIELD]);
struct sm2_key *sm2_key_private(const unsigned char *d, size_t len);
struct sm2_key *sm2_key_public(const unsigned char *point, size_t len);
struct sm2_key *sm2_key_ref(struct sm2_key *key);
void sm2_key_unref(struct sm2_key *key);
EVP_MD_CTX *sm2_digest_start(const struct sm2_key *key, const unsigned char *id, size_t len);
bool sm2_sign(const struct sm2_key *key, const unsigned char e[SM2_FIELD], unsigned char sig[SM2_SIGNATURE]);
bool sm2_verify(const struct sm2_key *key, const unsigned char e[SM2_FIELD], const unsigned char sig[SM2_SIGNATURE]);
enum pkcs8_kind sm2_parse_pkcs8(const unsigned char *der, size_t len, unsigned char d[SM2_FIELD]);

/* cache.c: what is known of an object handle. Never a permission. */

enum object_kind { OBJECT_UNKNOWN, OBJECT_OTHER, OBJECT_SM2_PRIVATE, OBJECT_SM2_PUBLIC };

enum object_kind object_kind(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object);
CK_RV object_key(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, enum object_kind kind, struct sm2_key **key);
void cache_forget(CK_OBJECT_HANDLE object);
void cache_clear(void);

/* attrs.c: the attributes a caller sees. */

bool attr_masked(enum object_kind kind, CK_ATTRIBUTE_TYPE type);
const CK_ATTRIBUTE *attr_find(const CK_ATTRIBUTE *list, CK_ULONG count, CK_ATTRIBUTE_TYPE type);
bool attr_is_ulong(const CK_ATTRIBUTE *list, CK_ULONG count, CK_ATTRIBUTE_TYPE type, CK_ULONG want);
bool attr_is_sm2_curve(const CK_ATTRIBUTE *list, CK_ULONG count);
bool attr_bool(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);
CK_RV sk_get_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR list, CK_ULONG count);
CK_RV sk_set_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR list, CK_ULONG count);

/* template.c: the template a caller gives, rewritten for SoftHSM2. */

struct template {
	CK_ATTRIBUTE *list;
	CK_ULONG count;
	CK_MECHANISM_TYPE allowed[SM2_ALLOWED_MAX + 1];
	CK_BBOOL extractable;
};

CK_RV template_private(struct template *t, const CK_ATTRIBUTE *list, CK_ULONG count);
CK_RV template_public(struct template *t, const CK_ATTRIBUTE *list, CK_ULONG count);
void template_add(struct template *t, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len);
CK_RV template_allowed(struct template *t, const CK_ATTRIBUTE *attr);
void template_free(struct template *t);

/* keys.c */

CK_RV sk_generate_key_pair(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_ATTRIBUTE_PTR pub, CK_ULONG pub_count,
	CK_ATTRIBUTE_PTR priv, CK_ULONG priv_count, CK_OBJECT_HANDLE_PTR pub_out, CK_OBJECT_HANDLE_PTR priv_out);
CK_RV sk_create_object(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR list, CK_ULONG count, CK_OBJECT_HANDLE_PTR out);
CK_RV sk_copy_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR list, CK_ULONG count,
	CK_OBJECT_HANDLE_PTR out);
CK_RV sk_destroy_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object);
CK_RV import_private(CK_SESSION_HANDLE session, const CK_ATTRIBUTE *list, CK_ULONG count,
	const unsigned char d[SM2_FIELD], CK_OBJECT_HANDLE_PTR out);

/* find.c: SoftHSM2 would match a template against its own values. */

CK_RV sk_find_objects_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR list, CK_ULONG count);
CK_RV sk_find_objects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR out, CK_ULONG max, CK_ULONG_PTR count);
CK_RV sk_find_objects_final(CK_SESSION_HANDLE session);
void find_drop(CK_SESSION_HANDLE session);
void find_drop_dead(void);
void find_clear(void);
void find_lock_unwrap(void); /* held while a readable intermediate object exists */
void find_unlock_unwrap(void);

/* wrap.c */

CK_RV sk_wrap_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key,
	CK_BYTE_PTR out, CK_ULONG_PTR out_len);
CK_RV sk_unwrap_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE kek, CK_BYTE_PTR blob,
	CK_ULONG blob_len, CK_ATTRIBUTE_PTR list, CK_ULONG count, CK_OBJECT_HANDLE_PTR out);
CK_RV sk_derive_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE base, CK_ATTRIBUTE_PTR list,
	CK_ULONG count, CK_OBJECT_HANDLE_PTR out);

/* ops.c: the SM2 operation a session has under way. */

struct op {
	struct op *next;
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE object;
	uint64_t generation;
	struct sm2_key *key;
	EVP_MD_CTX *digest; /* NULL: the caller gives e */
	bool verify;
	bool updated;
};

uint64_t ops_generation(void);
struct op *op_take(CK_SESSION_HANDLE session, bool verify);
void op_put(struct op *op);
void op_free(struct op *op);
bool op_active(CK_SESSION_HANDLE session);
void ops_drop_session(CK_SESSION_HANDLE session);
void ops_drop_object(CK_OBJECT_HANDLE object);
void ops_drop_signing(CK_SLOT_ID slot); /* the slot was logged out */
void ops_drop_dead(void);               /* sessions that no longer exist */
void ops_clear(void);

/* sign.c */

CK_RV sk_sign_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE key);
CK_RV sk_sign(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG len, CK_BYTE_PTR sig, CK_ULONG_PTR sig_len);
CK_RV sk_sign_update(CK_SESSION_HANDLE session, CK_BYTE_PTR part, CK_ULONG len);
CK_RV sk_sign_final(CK_SESSION_HANDLE session, CK_BYTE_PTR sig, CK_ULONG_PTR sig_len);
CK_RV sk_verify_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE key);
CK_RV sk_verify(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG len, CK_BYTE_PTR sig, CK_ULONG sig_len);
CK_RV sk_verify_update(CK_SESSION_HANDLE session, CK_BYTE_PTR part, CK_ULONG len);
CK_RV sk_verify_final(CK_SESSION_HANDLE session, CK_BYTE_PTR sig, CK_ULONG sig_len);
CK_RV sk_digest_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech);
CK_RV sk_encrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE key);
CK_RV sk_decrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE key);

/* mechs.c: what the module says of itself. */

CK_RV sk_get_info(CK_INFO_PTR info);
CK_RV sk_get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info);
CK_RV sk_get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count);
CK_RV sk_get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info);

#endif
