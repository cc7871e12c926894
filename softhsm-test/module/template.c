/*
 * A caller's template for an SM2 key, rewritten for SoftHSM2.
 *
 * Inside, the private key is readable so that this module can compute with it
 * (SENSITIVE false, EXTRACTABLE true, PRIVATE true so that its file is
 * encrypted under the PIN). What the caller asked for must live beside the key,
 * and SoftHSM2 refuses attributes it does not know, so two booleans that it
 * keeps but an EC key never uses carry it: CKA_SIGN_RECOVER = extractable now,
 * CKA_UNWRAP = was extractable at some time. Callers see both as false.
 */
#include "module.h"

#include <stdlib.h>
#include <string.h>

#define ADDED_MAX 12 /* attributes template_add may append */

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

static CK_RV start(struct template *t, CK_ULONG count)
{
	memset(t, 0, sizeof *t);
	t->list = calloc(count + ADDED_MAX, sizeof *t->list);
	return t->list == NULL ? CKR_HOST_MEMORY : CKR_OK;
}

void template_free(struct template *t)
{
	free(t->list);
	t->list = NULL;
}

void template_add(struct template *t, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len)
{
	t->list[t->count++] = (CK_ATTRIBUTE){type, (void *)value, len};
}

/* Takes the list over and lets SoftHSM2 accept the CKM_ECDSA it is asked for inside. */
CK_RV template_allowed(struct template *t, const CK_ATTRIBUTE *attr)
{
	const CK_MECHANISM_TYPE *list = attr->pValue;
	CK_ULONG n = attr->ulValueLen / sizeof *list;

	if (attr->ulValueLen % sizeof *list != 0 || (n > 0 && list == NULL) || n > SM2_ALLOWED_MAX)
		return CKR_ATTRIBUTE_VALUE_INVALID;
	for (CK_ULONG i = 0; i < n; i++) {
		if (list[i] != CKM_SM3_SM2 && list[i] != CKM_SM2_E)
			return CKR_ATTRIBUTE_VALUE_INVALID;
		t->allowed[i] = list[i];
	}
	if (n > 0)
		t->allowed[n++] = CKM_ECDSA;
	template_add(t, CKA_ALLOWED_MECHANISMS, t->allowed, n * sizeof *list);
	return CKR_OK;
}

/* Judges one boolean a caller may not choose freely; *taken when it is dealt with. */
static CK_RV private_bool(struct template *t, const CK_ATTRIBUTE *attr, bool *taken)
{
	CK_BBOOL value;

	*taken = false;
	switch (attr->type) {
	case CKA_SENSITIVE:
	case CKA_PRIVATE:
	case CKA_EXTRACTABLE:
	case CKA_SIGN_RECOVER:
	case CKA_UNWRAP:
	case CKA_ALWAYS_AUTHENTICATE:
		break;
	default:
		return CKR_OK;
	}
	if (attr->pValue == NULL || attr->ulValueLen != sizeof value)
		return CKR_ATTRIBUTE_VALUE_INVALID;
	*taken = true;
	value = *(const CK_BBOOL *)attr->pValue;
	if (attr->type == CKA_EXTRACTABLE)
		t->extractable = value ? CK_TRUE : CK_FALSE;
	else if (attr->type == CKA_SENSITIVE || attr->type == CKA_PRIVATE)
		return value ? CKR_OK : CKR_TEMPLATE_INCONSISTENT;
	else if (value) /* an SM2 key here neither recovers, unwraps nor asks for a PIN each time */
		return CKR_ATTRIBUTE_VALUE_INVALID;
	return CKR_OK;
}

CK_RV template_private(struct template *t, const CK_ATTRIBUTE *list, CK_ULONG count)
{
	CK_RV rv = start(t, count);

	for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++) {
		bool taken;

		rv = private_bool(t, &list[i], &taken);
		if (rv != CKR_OK || taken)
			continue;
		if (list[i].type == CKA_ALLOWED_MECHANISMS)
			rv = template_allowed(t, &list[i]);
		else
			t->list[t->count++] = list[i];
	}
	if (rv != CKR_OK) {
		template_free(t);
		return rv;
	}
	template_add(t, CKA_PRIVATE, &yes, sizeof yes);
	template_add(t, CKA_SENSITIVE, &no, sizeof no);
	template_add(t, CKA_EXTRACTABLE, &yes, sizeof yes);
	template_add(t, CKA_SIGN_RECOVER, &t->extractable, sizeof t->extractable);
	template_add(t, CKA_UNWRAP, &t->extractable, sizeof t->extractable);
	return CKR_OK;
}

CK_RV template_public(struct template *t, const CK_ATTRIBUTE *list, CK_ULONG count)
{
	CK_RV rv = start(t, count);

	for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++) {
		if (list[i].type == CKA_ALLOWED_MECHANISMS)
			rv = template_allowed(t, &list[i]);
		else
			t->list[t->count++] = list[i];
	}
	if (rv != CKR_OK)
		template_free(t);
	return rv;
}
