/*
 * Keys as the device makes, shows and finds them. Behind, an SM2 key is an EC
 * key on the SM2 curve; here it has the vendor's key type, mechanism and
 * attributes.
 */
#include "simulator.h"

#include <stdlib.h>
#include <string.h>

const CK_BYTE curve_oid[OID_LEN] = {0x06, 0x08, 0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x82, 0x2D};

static const CK_KEY_TYPE type_ec = CKK_EC;

enum kind { KIND_OTHER, KIND_PRIVATE, KIND_PUBLIC };

static const CK_ATTRIBUTE *find(const CK_ATTRIBUTE *list, CK_ULONG count, CK_ATTRIBUTE_TYPE type)
{
	for (CK_ULONG i = 0; list != NULL && i < count; i++)
		if (list[i].type == type)
			return &list[i];
	return NULL;
}

static bool is_ulong(const CK_ATTRIBUTE *a, CK_ULONG want)
{
	return a != NULL && a->pValue != NULL && a->ulValueLen == sizeof want && memcmp(a->pValue, &want, sizeof want) == 0;
}

static bool is_curve(const CK_ATTRIBUTE *a)
{
	return a != NULL && a->pValue != NULL && a->ulValueLen == OID_LEN && memcmp(a->pValue, curve_oid, OID_LEN) == 0;
}

static bool has_refused(const CK_ATTRIBUTE *list, CK_ULONG count)
{
	for (CK_ULONG i = 0; list != NULL && i < count; i++)
		if (listed(&device.refused, list[i].type))
			return true;
	return false;
}

/* What the device demands of a template for half an SM2 pair. */
static CK_RV check_half(const CK_ATTRIBUTE *list, CK_ULONG count, bool public)
{
	const CK_ATTRIBUTE *type = find(list, count, CKA_KEY_TYPE), *params = find(list, count, CKA_EC_PARAMS);
	bool wants_params = public && device.params_in_template;

	if (has_refused(list, count))
		return CKR_ATTRIBUTE_TYPE_INVALID;
	if (device.type_in_template != (type != NULL) || wants_params != (params != NULL))
		return type == NULL || params == NULL ? CKR_TEMPLATE_INCOMPLETE : CKR_TEMPLATE_INCONSISTENT;
	if ((type != NULL && !is_ulong(type, device.key_type)) || (params != NULL && !is_curve(params)))
		return CKR_ATTRIBUTE_VALUE_INVALID;
	if (device.bits != 0 && !is_ulong(find(list, count, device.bits), FIELD * 8))
		return CKR_TEMPLATE_INCOMPLETE;
	return CKR_OK;
}

/* Copies a template as the module behind understands it. The caller frees it. */
static CK_ATTRIBUTE *translated(const CK_ATTRIBUTE *list, CK_ULONG count, CK_ULONG *n)
{
	CK_ATTRIBUTE *copy = calloc(count + 1, sizeof *copy);

	*n = 0;
	for (CK_ULONG i = 0; copy != NULL && i < count; i++) {
		if (device.bits != 0 && list[i].type == device.bits)
			continue;
		copy[*n] = list[i];
		if (is_ulong(&list[i], device.key_type) && list[i].type == CKA_KEY_TYPE)
			copy[*n].pValue = (void *)&type_ec;
		(*n)++;
	}
	return copy;
}

static CK_RV make_pair(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR pub, CK_ULONG pub_count, CK_ATTRIBUTE_PTR priv,
	CK_ULONG priv_count, CK_OBJECT_HANDLE_PTR pub_out, CK_OBJECT_HANDLE_PTR priv_out)
{
	CK_MECHANISM gen = {BEHIND_KEY_PAIR_GEN, NULL, 0};
	CK_ULONG n, m;
	CK_ATTRIBUTE *tpub = translated(pub, pub_count, &n), *tpriv = translated(priv, priv_count, &m);
	CK_RV rv = CKR_HOST_MEMORY;

	if (tpub != NULL && tpriv != NULL)
		rv = behind->C_GenerateKeyPair(session, &gen, tpub, n, tpriv, m, pub_out, priv_out);
	free(tpub);
	free(tpriv);
	return rv;
}

static CK_RV generate_key_pair(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_ATTRIBUTE_PTR pub, CK_ULONG pub_count,
	CK_ATTRIBUTE_PTR priv, CK_ULONG priv_count, CK_OBJECT_HANDLE_PTR pub_out, CK_OBJECT_HANDLE_PTR priv_out)
{
	CK_RV rv;

	if (mech == NULL || pub == NULL || priv == NULL)
		return CKR_ARGUMENTS_BAD;
	if (device.key_pair_gen == 0 || mech->mechanism != device.key_pair_gen) {
		/* An SM2 key made as an EC key would have another face. */
		if (!listed(&device.standard, mech->mechanism) || is_curve(find(pub, pub_count, CKA_EC_PARAMS)))
			return CKR_MECHANISM_INVALID;
		if (has_refused(pub, pub_count) || has_refused(priv, priv_count))
			return CKR_ATTRIBUTE_TYPE_INVALID;
		return behind->C_GenerateKeyPair(session, mech, pub, pub_count, priv, priv_count, pub_out, priv_out);
	}
	if (mech->ulParameterLen != 0)
		return CKR_MECHANISM_PARAM_INVALID;
	rv = check_half(pub, pub_count, true);
	if (rv == CKR_OK)
		rv = check_half(priv, priv_count, false);
	return rv == CKR_OK ? make_pair(session, pub, pub_count, priv, priv_count, pub_out, priv_out) : rv;
}

static CK_RV generate_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mech, CK_ATTRIBUTE_PTR list, CK_ULONG count,
	CK_OBJECT_HANDLE_PTR out)
{
	if (mech != NULL && !listed(&device.standard, mech->mechanism))
		return CKR_MECHANISM_INVALID;
	return has_refused(list, count) ? CKR_ATTRIBUTE_TYPE_INVALID : behind->C_GenerateKey(session, mech, list, count, out);
}

/* Keys are born in the device; data and certificates come from outside. */
static CK_RV create_object(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR list, CK_ULONG count, CK_OBJECT_HANDLE_PTR out)
{
	const CK_ATTRIBUTE *class = find(list, count, CKA_CLASS);

	if (!is_ulong(class, CKO_DATA) && !is_ulong(class, CKO_CERTIFICATE))
		return CKR_TEMPLATE_INCONSISTENT;
	return behind->C_CreateObject(session, list, count, out);
}

static enum kind kind_of(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
	CK_OBJECT_CLASS class = CK_UNAVAILABLE_INFORMATION;
	CK_BYTE params[64];
	CK_ATTRIBUTE list[] = {{CKA_CLASS, &class, sizeof class}, {CKA_EC_PARAMS, params, sizeof params}};

	if (behind->C_GetAttributeValue(session, object, list, 2) != CKR_OK || !is_curve(&list[1]))
		return KIND_OTHER;
	return class == CKO_PRIVATE_KEY ? KIND_PRIVATE : class == CKO_PUBLIC_KEY ? KIND_PUBLIC : KIND_OTHER;
}

static CK_RV answer(CK_ATTRIBUTE *attr, const void *value, CK_ULONG len)
{
	if (attr->pValue != NULL && attr->ulValueLen < len) {
		attr->ulValueLen = CK_UNAVAILABLE_INFORMATION;
		return CKR_BUFFER_TOO_SMALL;
	}
	if (attr->pValue != NULL)
		memcpy(attr->pValue, value, len);
	attr->ulValueLen = len;
	return CKR_OK;
}

static CK_RV unavailable(CK_ATTRIBUTE *attr, CK_RV rv)
{
	attr->ulValueLen = CK_UNAVAILABLE_INFORMATION;
	return rv;
}

/* The public point or a coordinate, read behind as DER OCTET STRING. */
static CK_RV answer_point(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attr)
{
	CK_BYTE der[2 + 1 + 2 * FIELD], out[sizeof der + 1];
	CK_ATTRIBUTE inside = {CKA_EC_POINT, der, sizeof der};
	const CK_BYTE *point = der + 2;
	CK_RV rv = behind->C_GetAttributeValue(session, object, &inside, 1);

	if (rv != CKR_OK || inside.ulValueLen != sizeof der)
		return unavailable(attr, rv == CKR_OK ? CKR_GENERAL_ERROR : rv);
	if (device.point == POINT_XY && attr->type == device.x)
		return answer(attr, point + 1, FIELD);
	if (device.point == POINT_XY && attr->type == device.y)
		return answer(attr, point + 1 + FIELD, FIELD);
	if (device.point == POINT_XY)
		return unavailable(attr, CKR_ATTRIBUTE_TYPE_INVALID);
	return answer(attr, out, point_write(device.point, point, out));
}

static CK_RV answer_generator(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attr)
{
	CK_ULONG type = 0;
	CK_ATTRIBUTE inside = {CKA_KEY_GEN_MECHANISM, &type, sizeof type};
	CK_RV rv = behind->C_GetAttributeValue(session, object, &inside, 1);

	if (rv != CKR_OK)
		return unavailable(attr, rv);
	if (type == BEHIND_KEY_PAIR_GEN)
		type = device.key_pair_gen;
	return answer(attr, &type, sizeof type);
}

static bool is_vendors(CK_ATTRIBUTE_TYPE type, CK_ULONG attribute)
{
	return attribute != 0 && type == attribute;
}

static CK_RV get_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, enum kind kind, CK_ATTRIBUTE *attr)
{
	CK_ULONG bits = FIELD * 8;

	if (kind == KIND_OTHER)
		return behind->C_GetAttributeValue(session, object, attr, 1);
	if (attr->type == CKA_KEY_TYPE)
		return answer(attr, &device.key_type, sizeof device.key_type);
	if (attr->type == CKA_KEY_GEN_MECHANISM)
		return answer_generator(session, object, attr);
	if (is_vendors(attr->type, device.bits))
		return answer(attr, &bits, sizeof bits);
	if (is_vendors(attr->type, device.value))
		return unavailable(attr, kind == KIND_PRIVATE ? CKR_ATTRIBUTE_SENSITIVE : CKR_ATTRIBUTE_TYPE_INVALID);
	if (attr->type == CKA_EC_POINT || is_vendors(attr->type, device.x) || is_vendors(attr->type, device.y))
		return kind == KIND_PUBLIC ? answer_point(session, object, attr) : unavailable(attr, CKR_ATTRIBUTE_TYPE_INVALID);
	return behind->C_GetAttributeValue(session, object, attr, 1);
}

/* One refused attribute leaves the others filled in. */
static CK_RV get_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR list, CK_ULONG count)
{
	enum kind kind;
	CK_RV rv = CKR_OK, one;

	if (list == NULL || count == 0)
		return behind->C_GetAttributeValue(session, object, list, count);
	kind = kind_of(session, object);
	for (CK_ULONG i = 0; i < count; i++) {
		if (listed(&device.unreadable, list[i].type))
			one = unavailable(&list[i], CKR_ATTRIBUTE_TYPE_INVALID);
		else
			one = get_one(session, object, kind, &list[i]);
		if (one != CKR_OK && one != CKR_ATTRIBUTE_SENSITIVE && one != CKR_ATTRIBUTE_TYPE_INVALID && one != CKR_BUFFER_TOO_SMALL)
			return one;
		if (rv == CKR_OK)
			rv = one;
	}
	return rv;
}

/* A search by the vendor's key type is one for EC keys on the curve. */
static CK_RV find_objects_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR list, CK_ULONG count)
{
	CK_ULONG n;
	CK_ATTRIBUTE *copy;
	CK_RV rv;

	if (list == NULL || device.key_type == CKK_EC || !is_ulong(find(list, count, CKA_KEY_TYPE), device.key_type))
		return behind->C_FindObjectsInit(session, list, count);
	copy = translated(list, count, &n);
	if (copy == NULL)
		return CKR_HOST_MEMORY;
	if (find(list, count, CKA_EC_PARAMS) == NULL)
		copy[n++] = (CK_ATTRIBUTE){CKA_EC_PARAMS, (void *)curve_oid, OID_LEN};
	rv = behind->C_FindObjectsInit(session, copy, n);
	free(copy);
	return rv;
}

void objects_replace(CK_FUNCTION_LIST *t)
{
	t->C_GenerateKeyPair = generate_key_pair;
	t->C_GenerateKey = generate_key;
	t->C_CreateObject = create_object;
	t->C_GetAttributeValue = get_attribute_value;
	t->C_FindObjectsInit = find_objects_init;
}
