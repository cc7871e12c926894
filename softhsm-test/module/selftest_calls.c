/* Calls with odd arguments, and what they must answer. */
#include "selftest.h"

#include <string.h>

static CK_MECHANISM sm2_e = {CKM_SM2_E, NULL, 0};
static CK_MECHANISM sm3_sm2 = {CKM_SM3_SM2, NULL, 0};

/* One refused attribute leaves the others filled in. */
void test_attributes(void)
{
	CK_OBJECT_HANDLE pub, priv;
	CK_BYTE label[8], value[64], params[4];
	CK_BBOOL sensitive = CK_FALSE;
	CK_OBJECT_CLASS class = 0;
	CK_ATTRIBUTE list[] = {
		{CKA_LABEL, label, sizeof label},
		{CKA_VALUE, value, sizeof value},
		{CKA_SENSITIVE, &sensitive, sizeof sensitive},
		{CKA_CLASS, &class, sizeof class},
	};
	CK_ATTRIBUTE small[] = {{CKA_EC_PARAMS, params, sizeof params}, {CKA_KEY_GEN_MECHANISM, params, sizeof params}};
	CK_ATTRIBUTE query[] = {{CKA_VALUE, NULL, 0}, {CKA_EXTRACTABLE, NULL, 0}, {CKA_EC_POINT, NULL, 0}};

	generate(CK_TRUE, CK_TRUE, &pub, &priv);
	memset(value, 0, sizeof value);
	EXPECT(CKR_ATTRIBUTE_SENSITIVE, p11->C_GetAttributeValue(session, priv, list, COUNT(list)));
	CHECK(list[0].ulValueLen == 3 && memcmp(label, "key", 3) == 0);
	CHECK(list[1].ulValueLen == CK_UNAVAILABLE_INFORMATION);
	CHECK(sensitive == CK_TRUE && class == CKO_PRIVATE_KEY);
	for (size_t i = 0; i < sizeof value; i++)
		CHECK(value[i] == 0);
	EXPECT(CKR_BUFFER_TOO_SMALL, p11->C_GetAttributeValue(session, priv, small, COUNT(small)));
	CHECK(small[0].ulValueLen == CK_UNAVAILABLE_INFORMATION && small[1].ulValueLen == CK_UNAVAILABLE_INFORMATION);
	CHECK(p11->C_GetAttributeValue(session, priv, query, COUNT(query)) != CKR_OK);
	CHECK(query[0].ulValueLen == CK_UNAVAILABLE_INFORMATION && query[1].ulValueLen == sizeof(CK_BBOOL));
	EXPECT(CKR_ARGUMENTS_BAD, p11->C_GetAttributeValue(session, priv, NULL, 3));
	EXPECT(CKR_OBJECT_HANDLE_INVALID, p11->C_GetAttributeValue(session, 99999, list, COUNT(list)));
	EXPECT(CKR_SESSION_HANDLE_INVALID, p11->C_GetAttributeValue(99999, priv, list, COUNT(list)));
	EXPECT(CKR_ARGUMENTS_BAD, p11->C_SetAttributeValue(session, priv, NULL, 1));
}

static void test_null_templates(void)
{
	CK_MECHANISM pair = {CKM_SM2_KEY_PAIR_GEN, NULL, 0};
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_KEY_TYPE type = CKK_EC;
	CK_BYTE curve[] = {0x06, 0x08, 0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x82, 0x2D};
	CK_OBJECT_HANDLE pub, priv, object;
	CK_ATTRIBUTE null_bool[] = {{CKA_EXTRACTABLE, NULL, 1}};
	CK_ATTRIBUTE null_params[] = {{CKA_EC_PARAMS, NULL, 10}};
	CK_ATTRIBUTE null_allowed[] = {{CKA_ALLOWED_MECHANISMS, NULL, sizeof(CK_MECHANISM_TYPE)}};
	CK_ATTRIBUTE null_value[] = {
		{CKA_CLASS, &class, sizeof class},
		{CKA_KEY_TYPE, &type, sizeof type},
		{CKA_EC_PARAMS, curve, sizeof curve},
		{CKA_VALUE, NULL, 32},
	};

	EXPECT(CKR_OK, p11->C_GenerateKeyPair(session, &pair, NULL, 0, NULL, 0, &pub, &priv));
	EXPECT(CKR_ATTRIBUTE_VALUE_INVALID, p11->C_GenerateKeyPair(session, &pair, NULL, 0, null_bool, 1, &pub, &priv));
	EXPECT(CKR_TEMPLATE_INCONSISTENT, p11->C_GenerateKeyPair(session, &pair, null_params, 1, NULL, 0, &pub, &priv));
	EXPECT(CKR_ATTRIBUTE_VALUE_INVALID, p11->C_GenerateKeyPair(session, &pair, null_allowed, 1, NULL, 0, &pub, &priv));
	CHECK(p11->C_GenerateKeyPair(session, &pair, NULL, 2, NULL, 0, &pub, &priv) != CKR_OK);
	CHECK(p11->C_GenerateKeyPair(session, &pair, NULL, 0, NULL, 0, NULL, &priv) != CKR_OK);
	CHECK(p11->C_GenerateKeyPair(session, NULL, NULL, 0, NULL, 0, &pub, &priv) != CKR_OK);
	EXPECT(CKR_ATTRIBUTE_VALUE_INVALID, p11->C_CreateObject(session, null_value, COUNT(null_value), &object));
	CHECK(p11->C_CreateObject(session, NULL, 4, &object) != CKR_OK);
}

void test_arguments(void)
{
	CK_OBJECT_HANDLE pub, priv;
	CK_BYTE e[SM2_FIELD] = {1}, sig[SM2_SIGNATURE];
	CK_ULONG len = sizeof sig;
	CK_MECHANISM null_id = {CKM_SM3_SM2, NULL, 5};

	test_null_templates();
	generate(CK_FALSE, CK_FALSE, &pub, &priv);
	CHECK(p11->C_SignInit(session, NULL, priv) != CKR_OK);
	EXPECT(CKR_MECHANISM_PARAM_INVALID, p11->C_SignInit(session, &null_id, priv));
	EXPECT(CKR_OK, p11->C_SignInit(session, &sm2_e, priv));
	EXPECT(CKR_ARGUMENTS_BAD, p11->C_Sign(session, e, sizeof e, sig, NULL));
	EXPECT(CKR_OPERATION_NOT_INITIALIZED, p11->C_Sign(session, e, sizeof e, sig, &len));
	EXPECT(CKR_OK, p11->C_SignInit(session, &sm3_sm2, priv));
	EXPECT(CKR_ARGUMENTS_BAD, p11->C_SignUpdate(session, NULL, 1));
	EXPECT(CKR_OK, p11->C_SignInit(session, &sm3_sm2, priv));
	EXPECT(CKR_OK, p11->C_SignUpdate(session, NULL, 0));
	EXPECT(CKR_ARGUMENTS_BAD, p11->C_SignFinal(session, sig, NULL));
	EXPECT(CKR_OK, p11->C_VerifyInit(session, &sm2_e, pub));
	EXPECT(CKR_ARGUMENTS_BAD, p11->C_Verify(session, e, sizeof e, NULL, sizeof sig));
	EXPECT(CKR_OK, p11->C_VerifyInit(session, &sm2_e, pub));
	EXPECT(CKR_ARGUMENTS_BAD, p11->C_Verify(session, NULL, sizeof e, sig, sizeof sig));
	EXPECT(CKR_OK, p11->C_VerifyInit(session, &sm3_sm2, pub));
	EXPECT(CKR_ARGUMENTS_BAD, p11->C_VerifyFinal(session, NULL, sizeof sig));
	EXPECT(CKR_OK, p11->C_VerifyInit(session, &sm2_e, pub));
	EXPECT(CKR_OPERATION_NOT_INITIALIZED, p11->C_VerifyFinal(session, sig, sizeof sig));
	EXPECT(CKR_OK, p11->C_SignInit(session, &sm3_sm2, priv));
	EXPECT(CKR_OK, p11->C_SignUpdate(session, e, sizeof e));
	EXPECT(CKR_OPERATION_NOT_INITIALIZED, p11->C_Sign(session, e, sizeof e, sig, &len));
	EXPECT(CKR_OPERATION_NOT_INITIALIZED, p11->C_SignFinal(session, sig, &len));
}

/* A length query and a short buffer leave the operation active. */
void test_lengths(void)
{
	CK_OBJECT_HANDLE pub, priv;
	CK_BYTE e[SM2_FIELD] = {2}, sig[SM2_SIGNATURE];
	CK_MECHANISM_TYPE list[256];
	CK_ULONG len = 0, count = 0;

	generate(CK_FALSE, CK_FALSE, &pub, &priv);
	EXPECT(CKR_OK, p11->C_SignInit(session, &sm2_e, priv));
	EXPECT(CKR_OK, p11->C_Sign(session, e, sizeof e, NULL, &len));
	CHECK(len == SM2_SIGNATURE);
	len = SM2_SIGNATURE - 1;
	EXPECT(CKR_BUFFER_TOO_SMALL, p11->C_Sign(session, e, sizeof e, sig, &len));
	CHECK(len == SM2_SIGNATURE);
	EXPECT(CKR_OK, p11->C_Sign(session, e, sizeof e, sig, &len));
	EXPECT(CKR_OK, p11->C_VerifyInit(session, &sm2_e, pub));
	EXPECT(CKR_OK, p11->C_Verify(session, e, sizeof e, sig, len));

	EXPECT(CKR_OK, p11->C_SignInit(session, &sm3_sm2, priv));
	EXPECT(CKR_OK, p11->C_SignUpdate(session, e, sizeof e));
	EXPECT(CKR_OK, p11->C_SignFinal(session, NULL, &len));
	len = 0;
	EXPECT(CKR_BUFFER_TOO_SMALL, p11->C_SignFinal(session, sig, &len));
	EXPECT(CKR_OK, p11->C_SignFinal(session, sig, &len));
	EXPECT(CKR_OK, p11->C_VerifyInit(session, &sm3_sm2, pub));
	EXPECT(CKR_OK, p11->C_Verify(session, e, sizeof e, sig, len));

	EXPECT(CKR_OK, p11->C_GetMechanismList(slot, NULL, &count));
	CHECK(count > 3 && count < COUNT(list));
	for (CK_ULONG given = 0; given < count; given++) {
		len = given;
		EXPECT(CKR_BUFFER_TOO_SMALL, p11->C_GetMechanismList(slot, list, &len));
		CHECK(len == count);
	}
	EXPECT(CKR_OK, p11->C_GetMechanismList(slot, list, &len));
	CHECK(len == count && list[count - 1] == CKM_SM2_E);
	CHECK(p11->C_GetMechanismList(slot, list, NULL) != CKR_OK);
	CHECK(p11->C_GetMechanismInfo(slot, CKM_SM2_E, NULL) != CKR_OK);
	CHECK(p11->C_GetInfo(NULL) != CKR_OK);
	CHECK(p11->C_GetTokenInfo(slot, NULL) != CKR_OK);
}

void test_searches(void)
{
	CK_OBJECT_HANDLE found[64];
	CK_ULONG n = 0;
	CK_ATTRIBUTE closed[] = {{CKA_EXTRACTABLE, &no, sizeof no}};
	CK_ATTRIBUTE null_value[] = {{CKA_VALUE, NULL, 32}};
	CK_ATTRIBUTE empty_value[] = {{CKA_SENSITIVE, NULL, 0}};

	EXPECT(CKR_OK, p11->C_FindObjectsInit(session, closed, 1));
	EXPECT(CKR_ARGUMENTS_BAD, p11->C_FindObjects(session, NULL, 1, &n));
	EXPECT(CKR_ARGUMENTS_BAD, p11->C_FindObjects(session, found, 1, NULL));
	EXPECT(CKR_OK, p11->C_FindObjects(session, found, 0, &n));
	CHECK(n == 0);
	EXPECT(CKR_OK, p11->C_FindObjects(session, found, COUNT(found), &n));
	CHECK(n > 0);
	EXPECT(CKR_OPERATION_ACTIVE, p11->C_FindObjectsInit(session, closed, 1));
	EXPECT(CKR_OK, p11->C_FindObjectsFinal(session));
	EXPECT(CKR_OPERATION_NOT_INITIALIZED, p11->C_FindObjects(session, found, 1, &n));
	EXPECT(CKR_OPERATION_NOT_INITIALIZED, p11->C_FindObjectsFinal(session));
	EXPECT(CKR_OK, p11->C_FindObjectsInit(session, null_value, 1));
	EXPECT(CKR_OK, p11->C_FindObjects(session, found, COUNT(found), &n));
	CHECK(n == 0);
	EXPECT(CKR_OK, p11->C_FindObjectsFinal(session));
	EXPECT(CKR_OK, p11->C_FindObjectsInit(session, empty_value, 1));
	EXPECT(CKR_OK, p11->C_FindObjectsFinal(session));
	CHECK(p11->C_FindObjectsInit(session, NULL, 1) != CKR_OK);
	EXPECT(CKR_OK, p11->C_FindObjectsInit(session, NULL, 0));
	EXPECT(CKR_OK, p11->C_FindObjectsFinal(session));
	EXPECT(CKR_SESSION_HANDLE_INVALID, p11->C_FindObjectsInit(99999, closed, 1));
}
