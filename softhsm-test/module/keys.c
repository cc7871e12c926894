/* Making, importing, copying and destroying SM2 keys. */
#include "module.h"

#include <string.h>

static const CK_OBJECT_CLASS class_private = CKO_PRIVATE_KEY;
static const CK_KEY_TYPE type_ec = CKK_EC;

/* Whether the call makes an SM2 pair, under its own mechanism or the EC one. */
static bool makes_sm2(CK_MECHANISM_PTR mech, const CK_ATTRIBUTE *pub, CK_ULONG count)
{
	if (mech == NULL || (pub == NULL && count > 0))
		return false;
	if (mech->mechanism == CKM_SM2_KEY_PAIR_GEN)
		return true;
	/* Otherwise the key would be readable, and could sign ECDSA alone. */
	return mech->mechanism == CKM_EC_KEY_PAIR_GEN && attr_is_sm2_curve(pub, count);
}

CK_RV sk_generate_key_pair(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_ATTRIBUTE_PTR pub, CK_ULONG pub_count,
	CK_ATTRIBUTE_PTR priv, CK_ULONG priv_count, CK_OBJECT_HANDLE_PTR pub_out, CK_OBJECT_HANDLE_PTR priv_out)
{
	CK_MECHANISM ec = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
	struct template tpub, tpriv;
	CK_RV rv;

	if (!makes_sm2(mech, pub, pub_count) || (priv == NULL && priv_count > 0))
		return inner->C_GenerateKeyPair(session, mech, pub, pub_count, priv, priv_count, pub_out, priv_out);
	if (mech->ulParameterLen != 0)
		return CKR_MECHANISM_PARAM_INVALID;
	if (attr_find(pub, pub_count, CKA_EC_PARAMS) != NULL && !attr_is_sm2_curve(pub, pub_count))
		return CKR_TEMPLATE_INCONSISTENT;
	rv = template_public(&tpub, pub, pub_count);
	if (rv != CKR_OK)
		return rv;
	rv = template_private(&tpriv, priv, priv_count);
	if (rv == CKR_OK) {
		if (attr_find(pub, pub_count, CKA_EC_PARAMS) == NULL)
			template_add(&tpub, CKA_EC_PARAMS, sm2_params, sizeof sm2_params);
		rv = inner->C_GenerateKeyPair(session, &ec, tpub.list, tpub.count, tpriv.list, tpriv.count, pub_out,
			priv_out);
		template_free(&tpriv);
	}
	template_free(&tpub);
	return rv;
}

/* Stores d as an SM2 private key under the caller's template, which names no value. */
CK_RV import_private(CK_SESSION_HANDLE session, const CK_ATTRIBUTE *list, CK_ULONG count,
	const unsigned char d[SM2_FIELD], CK_OBJECT_HANDLE_PTR out)
{
	struct template t;
	CK_RV rv;

	if (!sm2_scalar_valid(d))
		return CKR_ATTRIBUTE_VALUE_INVALID;
	rv = template_private(&t, list, count);
	if (rv != CKR_OK)
		return rv;
	if (attr_find(list, count, CKA_CLASS) == NULL)
		template_add(&t, CKA_CLASS, &class_private, sizeof class_private);
	if (attr_find(list, count, CKA_KEY_TYPE) == NULL)
		template_add(&t, CKA_KEY_TYPE, &type_ec, sizeof type_ec);
	if (attr_find(list, count, CKA_EC_PARAMS) == NULL)
		template_add(&t, CKA_EC_PARAMS, sm2_params, sizeof sm2_params);
	if (attr_find(list, count, CKA_VALUE) == NULL)
		template_add(&t, CKA_VALUE, d, SM2_FIELD);
	rv = inner->C_CreateObject(session, t.list, t.count, out);
	template_free(&t);
	return rv;
}

static CK_RV create_private(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR list, CK_ULONG count, CK_OBJECT_HANDLE_PTR out)
{
	const CK_ATTRIBUTE *value = attr_find(list, count, CKA_VALUE);
	unsigned char d[SM2_FIELD] = {0};

	if (value == NULL || value->pValue == NULL || value->ulValueLen == 0 || value->ulValueLen > SM2_FIELD)
		return CKR_ATTRIBUTE_VALUE_INVALID;
	memcpy(d + SM2_FIELD - value->ulValueLen, value->pValue, value->ulValueLen);
	return import_private(session, list, count, d, out);
}

static CK_RV create_public(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR list, CK_ULONG count, CK_OBJECT_HANDLE_PTR out)
{
	const CK_ATTRIBUTE *point = attr_find(list, count, CKA_EC_POINT);
	struct sm2_key *key = NULL;
	struct template t;
	CK_RV rv;

	if (point != NULL && point->pValue != NULL)
		key = sm2_key_public(point->pValue, point->ulValueLen);
	if (key == NULL) /* absent, malformed, or off the curve */
		return CKR_ATTRIBUTE_VALUE_INVALID;
	sm2_key_unref(key);
	rv = template_public(&t, list, count);
	if (rv != CKR_OK)
		return rv;
	rv = inner->C_CreateObject(session, t.list, t.count, out);
	template_free(&t);
	return rv;
}

CK_RV sk_create_object(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR list, CK_ULONG count, CK_OBJECT_HANDLE_PTR out)
{
	bool sm2 = attr_is_ulong(list, count, CKA_KEY_TYPE, CKK_EC) && attr_is_sm2_curve(list, count);

	if (sm2 && attr_is_ulong(list, count, CKA_CLASS, CKO_PRIVATE_KEY))
		return create_private(session, list, count, out);
	if (sm2 && attr_is_ulong(list, count, CKA_CLASS, CKO_PUBLIC_KEY))
		return create_public(session, list, count, out);
	return inner->C_CreateObject(session, list, count, out);
}

/* A copy keeps what its key was born with: no template may touch that. */
CK_RV sk_copy_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR list, CK_ULONG count,
	CK_OBJECT_HANDLE_PTR out)
{
	enum object_kind kind = object_kind(session, object);
	bool sm2 = kind == OBJECT_SM2_PRIVATE || kind == OBJECT_SM2_PUBLIC;

	for (CK_ULONG i = 0; sm2 && list != NULL && i < count; i++)
		if (attr_masked(kind, list[i].type) || list[i].type == CKA_PRIVATE ||
		    list[i].type == CKA_EC_PARAMS || list[i].type == CKA_ALWAYS_AUTHENTICATE)
			return CKR_ATTRIBUTE_READ_ONLY;
	return inner->C_CopyObject(session, object, list, count, out);
}

CK_RV sk_destroy_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
	CK_RV rv = inner->C_DestroyObject(session, object);

	if (rv == CKR_OK) {
		cache_forget(object);
		ops_drop_object(object);
	}
	return rv;
}
