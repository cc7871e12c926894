/*
 * The SM2 operation a session has under way. It is taken out of the table
 * while it is worked on and put back for a length query, a short buffer or an
 * update, so no lock is held over arithmetic.
 *
 * SoftHSM2 holds no half of it: its ECDSA operation, started for the permission
 * check, is ended before the SM2 one begins. Were it left open, an operation
 * lost here would go on as ECDSA on the SM2 curve, a wrong signature without
 * any error.
 */
#include "module.h"

#include <pthread.h>
#include <stdlib.h>

#define STRIPES 64

static struct op *table[STRIPES];
static pthread_mutex_t stripes[STRIPES] = {[0 ... STRIPES - 1] = PTHREAD_MUTEX_INITIALIZER};
static _Atomic uint64_t generation; /* changes with C_Initialize and C_Finalize */

uint64_t ops_generation(void)
{
	return atomic_load(&generation);
}

void op_free(struct op *op)
{
	if (op == NULL)
		return;
	EVP_MD_CTX_free(op->digest);
	sm2_key_unref(op->key);
	free(op);
}

struct op *op_take(CK_SESSION_HANDLE session, bool verify)
{
	size_t s = session % STRIPES;
	struct op *found = NULL;

	pthread_mutex_lock(&stripes[s]);
	for (struct op **p = &table[s]; *p != NULL; p = &(*p)->next) {
		if ((*p)->session == session && (*p)->verify == verify) {
			found = *p;
			*p = found->next;
			break;
		}
	}
	pthread_mutex_unlock(&stripes[s]);
	return found;
}

void op_put(struct op *op)
{
	size_t s = op->session % STRIPES;
	bool stale;

	pthread_mutex_lock(&stripes[s]);
	/* After C_Finalize the session's number may soon be another session's. */
	stale = op->generation != ops_generation();
	if (!stale) {
		op->next = table[s];
		table[s] = op;
	}
	pthread_mutex_unlock(&stripes[s]);
	if (stale)
		op_free(op);
}

bool op_active(CK_SESSION_HANDLE session)
{
	size_t s = session % STRIPES;
	bool found = false;

	pthread_mutex_lock(&stripes[s]);
	for (struct op *op = table[s]; op != NULL && !found; op = op->next)
		found = op->session == session;
	pthread_mutex_unlock(&stripes[s]);
	return found;
}

/* Unlinks and frees every operation of stripe s that test names. */
static void drop_if(size_t s, bool (*test)(const struct op *, CK_ULONG), CK_ULONG arg)
{
	pthread_mutex_lock(&stripes[s]);
	for (struct op **p = &table[s]; *p != NULL;) {
		struct op *op = *p;

		if (test(op, arg)) {
			*p = op->next;
			op_free(op);
		} else {
			p = &op->next;
		}
	}
	pthread_mutex_unlock(&stripes[s]);
}

static void drop_everywhere(bool (*test)(const struct op *, CK_ULONG), CK_ULONG arg)
{
	for (size_t s = 0; s < STRIPES; s++)
		drop_if(s, test, arg);
}

static bool any(const struct op *op, CK_ULONG unused)
{
	(void)op;
	(void)unused;
	return true;
}

static bool of_session(const struct op *op, CK_ULONG session)
{
	return op->session == session;
}

static bool of_object(const struct op *op, CK_ULONG object)
{
	return op->object == object;
}

static bool session_gone(const struct op *op, CK_ULONG unused)
{
	CK_SESSION_INFO info;

	(void)unused;
	return inner->C_GetSessionInfo(op->session, &info) != CKR_OK;
}

static bool signs_in_slot(const struct op *op, CK_ULONG slot)
{
	CK_SESSION_INFO info;

	return !op->verify && (inner->C_GetSessionInfo(op->session, &info) != CKR_OK || info.slotID == slot);
}

void ops_drop_session(CK_SESSION_HANDLE session)
{
	drop_if(session % STRIPES, of_session, session);
}

void ops_drop_object(CK_OBJECT_HANDLE object)
{
	drop_everywhere(of_object, object);
}

void ops_drop_signing(CK_SLOT_ID slot)
{
	drop_everywhere(signs_in_slot, slot);
}

void ops_drop_dead(void)
{
	drop_everywhere(session_gone, 0);
}

void ops_clear(void)
{
	atomic_fetch_add(&generation, 1);
	drop_everywhere(any, 0);
}
