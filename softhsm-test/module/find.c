/*
 * Searching. SoftHSM2 would match CKA_SENSITIVE, CKA_EXTRACTABLE or CKA_VALUE
 * against what it stores, which is not what a caller sees; a caller could even
 * test guesses of a private value. So such attributes are taken out of the
 * template, and what is found is compared with the values of the interface.
 */
#include "module.h"

#include <openssl/crypto.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct search {
	struct search *next;
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE *found;
	CK_ULONG count, capacity, given;
};

static struct search *searches;
static pthread_mutex_t searches_lock = PTHREAD_MUTEX_INITIALIZER;

/* Searches against unwraps: many of the latter at once, never beside the former. */
static pthread_rwlock_t unwrap_lock = PTHREAD_RWLOCK_INITIALIZER;

void find_lock_unwrap(void)
{
	pthread_rwlock_rdlock(&unwrap_lock);
}

void find_unlock_unwrap(void)
{
	pthread_rwlock_unlock(&unwrap_lock);
}

static void search_free(struct search *s)
{
	if (s != NULL)
		free(s->found);
	free(s);
}

static struct search *take(CK_SESSION_HANDLE session)
{
	struct search *found = NULL;

	pthread_mutex_lock(&searches_lock);
	for (struct search **p = &searches; *p != NULL; p = &(*p)->next) {
		if ((*p)->session == session) {
			found = *p;
			*p = found->next;
			break;
		}
	}
	pthread_mutex_unlock(&searches_lock);
	return found;
}

static void put(struct search *s)
{
	pthread_mutex_lock(&searches_lock);
	s->next = searches;
	searches = s;
	pthread_mutex_unlock(&searches_lock);
}

void find_drop(CK_SESSION_HANDLE session)
{
	search_free(take(session));
}

/* Frees the searches of sessions that no longer exist, or all of them. */
static void drop(bool all)
{
	CK_SESSION_INFO info;

	pthread_mutex_lock(&searches_lock);
	for (struct search **p = &searches; *p != NULL;) {
		struct search *s = *p;

		if (all || inner->C_GetSessionInfo(s->session, &info) != CKR_OK) {
			*p = s->next;
			search_free(s);
		} else {
			p = &s->next;
		}
	}
	pthread_mutex_unlock(&searches_lock);
}

void find_drop_dead(void)
{
	drop(false);
}

void find_clear(void)
{
	drop(true);
}

/* Whether the object's value, as a caller sees it, is the template's. */
static bool matches(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, const CK_ATTRIBUTE *want)
{
	CK_ATTRIBUTE have = {want->type, NULL, 0};
	bool same = false;

	if (sk_get_attribute_value(session, object, &have, 1) != CKR_OK || have.ulValueLen != want->ulValueLen)
		return false;
	if (have.ulValueLen == 0)
		return true;
	have.pValue = malloc(have.ulValueLen);
	if (have.pValue != NULL && want->pValue != NULL &&
	    sk_get_attribute_value(session, object, &have, 1) == CKR_OK && have.ulValueLen == want->ulValueLen)
		same = CRYPTO_memcmp(have.pValue, want->pValue, want->ulValueLen) == 0;
	free(have.pValue);
	return same;
}

static bool keep(struct search *s, CK_OBJECT_HANDLE object)
{
	if (s->count == s->capacity) {
		CK_ULONG capacity = s->capacity == 0 ? 64 : s->capacity * 2;
		CK_OBJECT_HANDLE *grown = realloc(s->found, capacity * sizeof *grown);

		if (grown == NULL)
			return false;
		s->found = grown;
		s->capacity = capacity;
	}
	s->found[s->count++] = object;
	return true;
}

static bool matches_all(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, const CK_ATTRIBUTE *list, CK_ULONG count)
{
	for (CK_ULONG i = 0; i < count; i++)
		if (attr_masked(OBJECT_SM2_PRIVATE, list[i].type) && !matches(session, object, &list[i]))
			return false;
	return true;
}

/* Draws all of SoftHSM2's results through the filter. */
static CK_RV filter(struct search *s, const CK_ATTRIBUTE *list, CK_ULONG count)
{
	CK_OBJECT_HANDLE batch[128];
	CK_ULONG n;
	CK_RV rv;

	for (;;) {
		rv = inner->C_FindObjects(s->session, batch, sizeof batch / sizeof batch[0], &n);
		if (rv != CKR_OK || n == 0)
			return rv;
		for (CK_ULONG i = 0; i < n; i++)
			if (matches_all(s->session, batch[i], list, count) && !keep(s, batch[i]))
				return CKR_HOST_MEMORY;
	}
}

static CK_RV start_inner(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR list, CK_ULONG count)
{
	CK_RV rv;

	/* SoftHSM2 collects every match within this one call. */
	pthread_rwlock_wrlock(&unwrap_lock);
	rv = inner->C_FindObjectsInit(session, list, count);
	pthread_rwlock_unlock(&unwrap_lock);
	return rv;
}

/* Starts SoftHSM2's search with the attributes whose values it stores as seen. */
static CK_RV start_filtered(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR list, CK_ULONG count)
{
	CK_ATTRIBUTE *plain = calloc(count, sizeof *plain);
	CK_ULONG n = 0;
	CK_RV rv;

	if (plain == NULL)
		return CKR_HOST_MEMORY;
	for (CK_ULONG i = 0; i < count; i++)
		if (!attr_masked(OBJECT_SM2_PRIVATE, list[i].type))
			plain[n++] = list[i];
	rv = start_inner(session, plain, n);
	free(plain);
	return rv;
}

CK_RV sk_find_objects_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR list, CK_ULONG count)
{
	struct search *s;
	bool masked = false;
	CK_RV rv;

	for (CK_ULONG i = 0; list != NULL && i < count; i++)
		masked = masked || attr_masked(OBJECT_SM2_PRIVATE, list[i].type);
	if (!masked)
		return start_inner(session, list, count);
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return CKR_HOST_MEMORY;
	s->session = session;
	rv = start_filtered(session, list, count);
	if (rv == CKR_OK) {
		rv = filter(s, list, count);
		if (rv != CKR_OK)
			inner->C_FindObjectsFinal(session);
	}
	if (rv != CKR_OK) {
		search_free(s);
		return rv;
	}
	put(s);
	return CKR_OK;
}

CK_RV sk_find_objects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR out, CK_ULONG max, CK_ULONG_PTR count)
{
	struct search *s = take(session);

	if (s == NULL)
		return inner->C_FindObjects(session, out, max, count);
	if (out == NULL || count == NULL) {
		put(s);
		return CKR_ARGUMENTS_BAD;
	}
	for (*count = 0; *count < max && s->given < s->count; (*count)++)
		out[*count] = s->found[s->given++];
	put(s);
	return CKR_OK;
}

CK_RV sk_find_objects_final(CK_SESSION_HANDLE session)
{
	find_drop(session);
	return inner->C_FindObjectsFinal(session);
}
