/*
 * The attributes a caller sees of an SM2 key. SoftHSM2's own answers would say
 * that the key is readable; here the key is sensitive and its value stays in.
 */
#include "module.h"

#include <stdlib.h>
#include <string.h>

const CK_ATTRIBUTE *attr_find(const CK_ATTRIBUTE *list, CK_ULONG count, CK_ATTRIBUTE_TYPE type)
{
	for (CK_ULONG i = 0; list != NULL && i < count; i++)
		if (list[i].type == type)
			return &list[i];
	return NULL;
}

bool attr_is_ulong(const CK_ATTRIBUTE *list, CK_ULONG count, CK_ATTRIBUTE_TYPE type, CK_ULONG want)
{
	const CK_ATTRIBUTE *a = attr_find(list, count, type);

	return a != NULL && a->pValue != NULL && a->ulValueLen == sizeof want &&
		memcmp(a->pValue, &want, sizeof want) == 0;
}

bool attr_is_sm2_curve(const CK_ATTRIBUTE *list, CK_ULONG count)
{
	const CK_ATTRIBUTE *a = attr_find(list, count, CKA_EC_PARAMS);

	return a != NULL && a->pValue != NULL && a->ulValueLen == SM2_PARAMS_LEN &&
		memcmp(a->pValue, sm2_params, SM2_PARAMS_LEN) == 0;
}

/* Whether SoftHSM2 itself says the boolean is true. */
bool attr_bool(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
	CK_BBOOL value = CK_FALSE;
	CK_ATTRIBUTE attr = {type, &value, sizeof value};

	return inner->C_GetAttributeValue(session, object, &attr, 1) == CKR_OK && value;
}

/* Whether the caller's view of the attribute differs from SoftHSM2's. */
bool attr_masked(enum object_kind kind, CK_ATTRIBUTE_TYPE type)
{
	switch (type) {
	case CKA_KEY_GEN_MECHANISM:
	case CKA_ALLOWED_MECHANISMS:
		return kind == OBJECT_SM2_PRIVATE || kind == OBJECT_SM2_PUBLIC;
	case CKA_SENSITIVE:
	case CKA_ALWAYS_SENSITIVE:
	case CKA_EXTRACTABLE:
	case CKA_NEVER_EXTRACTABLE:
	case CKA_VALUE:
	case CKA_SIGN_RECOVER:
	case CKA_UNWRAP:
		return kind == OBJECT_SM2_PRIVATE;
	}
	return false;
}

static CK_RV answer(CK_ATTRIBUTE *attr, const void *value, CK_ULONG len)
{
	if (attr->pValue == NULL) {
		attr->ulValueLen = len;
		return CKR_OK;
	}
	if (attr->ulValueLen < len) {
		attr->ulValueLen = CK_UNAVAILABLE_INFORMATION;
		return CKR_BUFFER_TOO_SMALL;
	}
	memcpy(attr->pValue, value, len);
	attr->ulValueLen = len;
	return CKR_OK;
}

static CK_RV answer_bool(CK_ATTRIBUTE *attr, bool value)
{
	CK_BBOOL b = value ? CK_TRUE : CK_FALSE;

	return answer(attr, &b, sizeof b);
}

/* "Never" holds for keys born here that no template or caller ever opened. */
static bool never_extractable(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
	if (!attr_bool(session, object, CKA_EXTRACTABLE)) /* made without this module */
		return attr_bool(session, object, CKA_NEVER_EXTRACTABLE);
	return attr_bool(session, object, CKA_LOCAL) && !attr_bool(session, object, CKA_UNWRAP);
}

static CK_RV answer_allowed(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attr)
{
	CK_MECHANISM_TYPE list[SM2_ALLOWED_MAX + 1], seen[SM2_ALLOWED_MAX + 1];
	CK_ATTRIBUTE inside = {CKA_ALLOWED_MECHANISMS, list, sizeof list};
	CK_ULONG n = 0;
	CK_RV rv = inner->C_GetAttributeValue(session, object, &inside, 1);

	if (rv != CKR_OK) {
		attr->ulValueLen = CK_UNAVAILABLE_INFORMATION;
		return rv;
	}
	for (CK_ULONG i = 0; i < inside.ulValueLen / sizeof list[0]; i++)
		if (list[i] != CKM_ECDSA)
			seen[n++] = list[i];
	return answer(attr, seen, n * sizeof seen[0]);
}

static CK_RV answer_generator(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attr)
{
	CK_MECHANISM_TYPE type = CK_UNAVAILABLE_INFORMATION;

	if (attr_bool(session, object, CKA_LOCAL))
		type = CKM_SM2_KEY_PAIR_GEN;
	return answer(attr, &type, sizeof type);
}

static CK_RV answer_masked(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attr)
{
	switch (attr->type) {
	case CKA_SENSITIVE:
		return answer_bool(attr, true);
	case CKA_ALWAYS_SENSITIVE:
		return answer_bool(attr, attr_bool(session, object, CKA_LOCAL));
	case CKA_EXTRACTABLE:
		return answer_bool(attr, attr_bool(session, object, CKA_EXTRACTABLE) &&
			attr_bool(session, object, CKA_SIGN_RECOVER));
	case CKA_NEVER_EXTRACTABLE:
		return answer_bool(attr, never_extractable(session, object));
	case CKA_ALLOWED_MECHANISMS:
		return answer_allowed(session, object, attr);
	case CKA_KEY_GEN_MECHANISM:
		return answer_generator(session, object, attr);
	case CKA_VALUE:
		attr->ulValueLen = CK_UNAVAILABLE_INFORMATION;
		return CKR_ATTRIBUTE_SENSITIVE;
	}
	return answer_bool(attr, false); /* CKA_SIGN_RECOVER, CKA_UNWRAP */
}

/* Asks SoftHSM2 for the attributes that need no mask, in the caller's buffers. */
static CK_RV get_plain(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, enum object_kind kind, CK_ATTRIBUTE *list,
	CK_ULONG count)
{
	CK_ULONG n = 0;
	CK_RV rv;
	CK_ATTRIBUTE *plain = calloc(count, sizeof *plain);

	if (plain == NULL)
		return CKR_HOST_MEMORY;
	for (CK_ULONG i = 0; i < count; i++)
		if (!attr_masked(kind, list[i].type))
			plain[n++] = list[i];
	/* Even with none left: the call still checks the session and the handle. */
	rv = inner->C_GetAttributeValue(session, object, plain, n);
	n = 0;
	for (CK_ULONG i = 0; i < count; i++)
		if (!attr_masked(kind, list[i].type))
			list[i].ulValueLen = plain[n++].ulValueLen;
	free(plain);
	return rv;
}

static bool per_attribute(CK_RV rv)
{
	return rv == CKR_OK || rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID ||
		rv == CKR_BUFFER_TOO_SMALL;
}

/*
 * One refused attribute leaves the others filled in: the standard's rule for
 * C_GetAttributeValue, kept across both sources.
 */
CK_RV sk_get_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR list, CK_ULONG count)
{
	CK_RV rv, one;
	enum object_kind kind;

	if (list == NULL || count == 0)
		return inner->C_GetAttributeValue(session, object, list, count);
	kind = object_kind(session, object);
	if (kind != OBJECT_SM2_PRIVATE && kind != OBJECT_SM2_PUBLIC)
		return inner->C_GetAttributeValue(session, object, list, count);
	rv = get_plain(session, object, kind, list, count);
	if (!per_attribute(rv))
		return rv;
	for (CK_ULONG i = 0; i < count; i++) {
		if (!attr_masked(kind, list[i].type))
			continue;
		one = answer_masked(session, object, &list[i]);
		if (one != CKR_OK && rv == CKR_OK)
			rv = one;
	}
	return rv;
}

/* What a caller may change on an SM2 private key; *inside is the change to make. */
static CK_RV change_private(const CK_ATTRIBUTE *attr, CK_ATTRIBUTE *inside)
{
	bool on;

	*inside = *attr;
	switch (attr->type) {
	case CKA_EXTRACTABLE:
	case CKA_SENSITIVE:
	case CKA_SIGN_RECOVER:
	case CKA_UNWRAP:
	case CKA_ALWAYS_AUTHENTICATE:
		break;
	case CKA_VALUE:
	case CKA_PRIVATE:
	case CKA_EC_PARAMS:
	case CKA_ALWAYS_SENSITIVE:
	case CKA_NEVER_EXTRACTABLE:
	case CKA_KEY_GEN_MECHANISM:
		return CKR_ATTRIBUTE_READ_ONLY;
	default:
		return CKR_OK;
	}
	if (attr->pValue == NULL || attr->ulValueLen != sizeof(CK_BBOOL))
		return CKR_ATTRIBUTE_VALUE_INVALID;
	on = *(const CK_BBOOL *)attr->pValue != CK_FALSE;
	if (on != (attr->type == CKA_SENSITIVE))
		return CKR_ATTRIBUTE_READ_ONLY;
	/* Already so, but for EXTRACTABLE, which once false stays false. */
	inside->type = attr->type == CKA_EXTRACTABLE ? CKA_SIGN_RECOVER : CK_UNAVAILABLE_INFORMATION;
	return CKR_OK;
}

/* Narrows a private key's changes to those SoftHSM2 is to make. */
static CK_RV narrow_private(struct template *t)
{
	CK_ULONG kept = 0;

	for (CK_ULONG i = 0; i < t->count; i++) {
		CK_ATTRIBUTE inside;
		CK_RV rv = change_private(&t->list[i], &inside);

		if (rv != CKR_OK)
			return rv;
		if (inside.type != CK_UNAVAILABLE_INFORMATION)
			t->list[kept++] = inside;
	}
	t->count = kept;
	return CKR_OK;
}

CK_RV sk_set_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR list, CK_ULONG count)
{
	struct template t;
	enum object_kind kind = object_kind(session, object);
	CK_RV rv;

	if (list == NULL || (kind != OBJECT_SM2_PRIVATE && kind != OBJECT_SM2_PUBLIC))
		return inner->C_SetAttributeValue(session, object, list, count);
	rv = template_public(&t, list, count);
	if (rv != CKR_OK)
		return rv;
	if (kind == OBJECT_SM2_PRIVATE)
		rv = narrow_private(&t);
	if (rv == CKR_OK)
		rv = inner->C_SetAttributeValue(session, object, t.list, t.count);
	if (rv == CKR_OK)
		cache_forget(object); /* its allowed mechanisms may have changed */
	template_free(&t);
	return rv;
}
