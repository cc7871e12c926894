/* Signatures and public points in the forms that devices give them. */
#include "simulator.h"

#include <string.h>

size_t form_size(enum form form)
{
	switch (form) {
	case FORM_RAW64:
		return 2 * FIELD;
	case FORM_RAW128:
		return 4 * FIELD;
	default:
		return 2 + 2 * (2 + 1 + FIELD);
	}
}

static size_t leading_zeros(const unsigned char v[FIELD])
{
	size_t n = 0;

	while (n < FIELD - 1 && v[n] == 0)
		n++;
	return n;
}

/*
 * One INTEGER. The firmware fault of der-lenient, as published: it looks for the
 * need of a sign byte before it drops leading zeros, so a number that had some
 * and then begins with the top bit set turns negative.
 */
static size_t write_integer(const unsigned char v[FIELD], bool fault, unsigned char *out)
{
	size_t skip = leading_zeros(v), len = FIELD - skip, sign = (v[skip] & 0x80) != 0 && !(fault && skip > 0);

	out[0] = 0x02;
	out[1] = (unsigned char)(len + sign);
	out[2] = 0;
	memcpy(out + 2 + sign, v + skip, len);
	return 2 + sign + len;
}

bool form_meets_fault(const unsigned char rs[2 * FIELD])
{
	for (size_t i = 0; i < 2; i++) {
		const unsigned char *v = rs + i * FIELD;
		size_t skip = leading_zeros(v);

		if (skip > 0 && (v[skip] & 0x80) != 0)
			return true;
	}
	return false;
}

size_t form_write(enum form form, const unsigned char rs[2 * FIELD], unsigned char out[SIGNATURE_MAX])
{
	size_t n;

	switch (form) {
	case FORM_RAW64:
		memcpy(out, rs, 2 * FIELD);
		return 2 * FIELD;
	case FORM_RAW128:
		memset(out, 0, 4 * FIELD);
		memcpy(out + FIELD, rs, FIELD);
		memcpy(out + 3 * FIELD, rs + FIELD, FIELD);
		return 4 * FIELD;
	default:
		n = write_integer(rs, form == FORM_DER_LENIENT, out + 2);
		n += write_integer(rs + FIELD, form == FORM_DER_LENIENT, out + 2 + n);
		out[0] = 0x30;
		out[1] = (unsigned char)n; /* at most 70 */
		return n + 2;
	}
}

/* Writes 04 || X || Y as the device does; out has room for 68 bytes. */
size_t point_write(enum point form, const unsigned char point[2 * FIELD + 1], unsigned char *out)
{
	static const unsigned char octet[] = {0x04, 0x41}, bits[] = {0x03, 0x42, 0x00};
	const unsigned char *head = octet;
	size_t n = 0;

	switch (form) {
	case POINT_DER_OCTET:
		n = sizeof octet;
		break;
	case POINT_DER_BIT:
		head = bits;
		n = sizeof bits;
		break;
	case POINT_RAW65:
		break;
	default:
		memcpy(out, point + 1, 2 * FIELD);
		return 2 * FIELD;
	}
	memcpy(out, head, n);
	memcpy(out + n, point, 2 * FIELD + 1);
	return n + 2 * FIELD + 1;
}
