/*
 * Wrapping SM2 keys under an AES key. SoftHSM2 wraps one but cannot unwrap it:
 * OpenSSL 3 reads the PKCS#8 as type SM2, SoftHSM2 asks for type EC.
 */
#include "module.h"

#include <openssl/crypto.h>

#include <stdlib.h>
#include <string.h>

#define PKCS8_MAX 4096 /* no EC key is near this */

CK_RV sk_wrap_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key,
	CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	CK_BBOOL extractable = CK_FALSE;
	CK_ATTRIBUTE attr = {CKA_EXTRACTABLE, &extractable, sizeof extractable};

	/* Inside, every SM2 key is extractable; only the interface's value counts. */
	if (object_kind(session, key) == OBJECT_SM2_PRIVATE) {
		CK_RV rv = sk_get_attribute_value(session, key, &attr, 1);

		if (rv != CKR_OK)
			return rv;
		if (!extractable)
			return CKR_KEY_UNEXTRACTABLE;
	}
	return inner->C_WrapKey(session, mech, kek, key, out, out_len);
}

/* Reads a secret object's value into a new buffer the caller cleanses and frees. */
static CK_RV read_secret(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_BYTE **value, CK_ULONG *len)
{
	CK_ATTRIBUTE attr = {CKA_VALUE, NULL, 0};
	CK_RV rv = inner->C_GetAttributeValue(session, object, &attr, 1);

	if (rv != CKR_OK)
		return rv;
	if (attr.ulValueLen == 0 || attr.ulValueLen > PKCS8_MAX)
		return CKR_WRAPPED_KEY_INVALID;
	attr.pValue = malloc(attr.ulValueLen);
	if (attr.pValue == NULL)
		return CKR_HOST_MEMORY;
	rv = inner->C_GetAttributeValue(session, object, &attr, 1);
	if (rv != CKR_OK) {
		free(attr.pValue);
		return rv;
	}
	*value = attr.pValue;
	*len = attr.ulValueLen;
	return CKR_OK;
}

/* Whether the object is a readable secret that holds an SM2 key; d is its scalar. */
static CK_RV open_pkcs8(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, enum pkcs8_kind *kind,
	unsigned char d[SM2_FIELD])
{
	CK_BYTE *value;
	CK_ULONG len;
	CK_RV rv = read_secret(session, object, &value, &len);

	if (rv != CKR_OK)
		return rv;
	*kind = sm2_parse_pkcs8(value, len, d);
	OPENSSL_cleanse(value, len);
	free(value);
	return CKR_OK;
}

/*
 * Unwraps the blob as a readable generic secret that lives for this call alone.
 * SoftHSM2 makes all of its checks on the wrapping key and the blob here.
 */
static CK_RV unwrap_pkcs8(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE kek, CK_BYTE_PTR blob,
	CK_ULONG blob_len, enum pkcs8_kind *kind, unsigned char d[SM2_FIELD])
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_GENERIC_SECRET;
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_ATTRIBUTE list[] = {
		{CKA_CLASS, &class, sizeof class},
		{CKA_KEY_TYPE, &type, sizeof type},
		{CKA_TOKEN, &no, sizeof no},
		{CKA_PRIVATE, &yes, sizeof yes},
		{CKA_SENSITIVE, &no, sizeof no},
		{CKA_EXTRACTABLE, &yes, sizeof yes},
	};
	CK_OBJECT_HANDLE object;
	CK_RV rv, destroyed;

	find_lock_unwrap();
	rv = inner->C_UnwrapKey(session, mech, kek, blob, blob_len, list, sizeof list / sizeof list[0], &object);
	if (rv == CKR_OK) {
		rv = open_pkcs8(session, object, kind, d);
		destroyed = inner->C_DestroyObject(session, object);
		if (rv == CKR_OK)
			rv = destroyed;
	}
	find_unlock_unwrap();
	return rv;
}

/* Refuses to give back an SM2 key as a secret that its caller may read. */
static CK_RV unwrap_secret(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE kek, CK_BYTE_PTR blob,
	CK_ULONG blob_len, CK_ATTRIBUTE_PTR list, CK_ULONG count, CK_OBJECT_HANDLE_PTR out)
{
	enum pkcs8_kind kind = PKCS8_OTHER;
	unsigned char d[SM2_FIELD];
	CK_RV rv;

	find_lock_unwrap();
	rv = inner->C_UnwrapKey(session, mech, kek, blob, blob_len, list, count, out);
	if (rv == CKR_OK && open_pkcs8(session, *out, &kind, d) == CKR_OK && kind == PKCS8_SM2) {
		inner->C_DestroyObject(session, *out);
		*out = CK_INVALID_HANDLE;
		rv = CKR_TEMPLATE_INCONSISTENT;
	}
	find_unlock_unwrap();
	OPENSSL_cleanse(d, sizeof d);
	return rv;
}

CK_RV sk_unwrap_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE kek, CK_BYTE_PTR blob,
	CK_ULONG blob_len, CK_ATTRIBUTE_PTR list, CK_ULONG count, CK_OBJECT_HANDLE_PTR out)
{
	enum pkcs8_kind kind = PKCS8_OTHER;
	unsigned char d[SM2_FIELD] = {0};
	CK_RV rv;

	if (mech == NULL || blob == NULL || list == NULL || out == NULL)
		return inner->C_UnwrapKey(session, mech, kek, blob, blob_len, list, count, out);
	if (attr_is_ulong(list, count, CKA_CLASS, CKO_SECRET_KEY))
		return unwrap_secret(session, mech, kek, blob, blob_len, list, count, out);
	if (!attr_is_ulong(list, count, CKA_CLASS, CKO_PRIVATE_KEY) ||
	    !attr_is_ulong(list, count, CKA_KEY_TYPE, CKK_EC) ||
	    (mech->mechanism != CKM_AES_KEY_WRAP && mech->mechanism != CKM_AES_KEY_WRAP_PAD))
		return inner->C_UnwrapKey(session, mech, kek, blob, blob_len, list, count, out);
	if (attr_find(list, count, CKA_VALUE) != NULL)
		return CKR_TEMPLATE_INCONSISTENT;
	rv = unwrap_pkcs8(session, mech, kek, blob, blob_len, &kind, d);
	if (rv == CKR_OK && kind != PKCS8_SM2)
		return inner->C_UnwrapKey(session, mech, kek, blob, blob_len, list, count, out);
	if (rv == CKR_OK && attr_find(list, count, CKA_EC_PARAMS) != NULL && !attr_is_sm2_curve(list, count))
		rv = CKR_TEMPLATE_INCONSISTENT;
	if (rv == CKR_OK)
		rv = import_private(session, list, count, d, out);
	OPENSSL_cleanse(d, sizeof d);
	return rv;
}

/* Key agreement with a seal's key would be a use nobody asked for. */
CK_RV sk_derive_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_OBJECT_HANDLE base, CK_ATTRIBUTE_PTR list,
	CK_ULONG count, CK_OBJECT_HANDLE_PTR out)
{
	if (object_kind(session, base) == OBJECT_SM2_PRIVATE)
		return CKR_KEY_TYPE_INCONSISTENT;
	return inner->C_DeriveKey(session, mech, base, list, count, out);
}
