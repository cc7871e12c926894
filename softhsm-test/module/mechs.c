/*
 * What the module says of itself. It announces that it is a simulator, so that
 * evidence taken through it reads so.
 */
#include "module.h"

#include <string.h>

static const CK_MECHANISM_TYPE added[] = {CKM_SM2_KEY_PAIR_GEN, CKM_SM3_SM2, CKM_SM2_E};

#define ADDED (sizeof added / sizeof added[0])

/* PKCS#11 texts are filled up with blanks and have no terminating zero. */
static void fill(unsigned char *field, size_t size, const char *text)
{
	memset(field, ' ', size);
	memcpy(field, text, strlen(text));
}

CK_RV sk_get_info(CK_INFO_PTR info)
{
	CK_RV rv = inner->C_GetInfo(info);

	if (rv == CKR_OK) {
		fill(info->manufacturerID, sizeof info->manufacturerID, "Sealkeeper (simulated)");
		fill(info->libraryDescription, sizeof info->libraryDescription, "Sealkeeper SM2 simulator");
	}
	return rv;
}

CK_RV sk_get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
	CK_RV rv = inner->C_GetTokenInfo(slot, info);

	if (rv == CKR_OK)
		fill(info->model, sizeof info->model, "SoftHSM2+SM2 sim");
	return rv;
}

CK_RV sk_get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count)
{
	CK_ULONG given, total = 0;
	CK_RV rv;

	if (count == NULL)
		return inner->C_GetMechanismList(slot, list, count);
	given = *count;
	rv = inner->C_GetMechanismList(slot, NULL, &total);
	if (rv != CKR_OK)
		return rv;
	*count = total + ADDED;
	if (list == NULL)
		return CKR_OK;
	if (given < *count)
		return CKR_BUFFER_TOO_SMALL;
	rv = inner->C_GetMechanismList(slot, list, &total);
	if (rv != CKR_OK)
		return rv;
	memcpy(list + total, added, sizeof added);
	*count = total + ADDED;
	return CKR_OK;
}

CK_RV sk_get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info)
{
	CK_RV rv;

	if (type != CKM_SM2_KEY_PAIR_GEN && type != CKM_SM3_SM2 && type != CKM_SM2_E)
		return inner->C_GetMechanismInfo(slot, type, info);
	rv = inner->C_GetMechanismInfo(slot, CKM_ECDSA, info); /* checks the slot */
	if (rv != CKR_OK)
		return rv;
	info->ulMinKeySize = info->ulMaxKeySize = SM2_FIELD * 8;
	info->flags = CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS;
	info->flags |= type == CKM_SM2_KEY_PAIR_GEN ? CKF_GENERATE_KEY_PAIR : CKF_SIGN | CKF_VERIFY;
	return CKR_OK;
}
