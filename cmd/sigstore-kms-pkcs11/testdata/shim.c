// A PKCS#11 module that is SoftHSM2 but for one thing, named by SHIM_HOW: what tokens do that SoftHSM2
// never does. SHIM_REAL is SoftHSM2's path; each log-in adds a byte to the file SHIM_LOGINS.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CK_PTR *
#define CK_DEFINE_FUNCTION(type, name) type name
#define CK_DECLARE_FUNCTION(type, name) type name
#define CK_DECLARE_FUNCTION_POINTER(type, name) type(*name)
#define CK_CALLBACK_FUNCTION(type, name) type(*name)
#ifndef NULL_PTR
#define NULL_PTR 0
#endif
#include "pkcs11.h"

static CK_FUNCTION_LIST list;
static CK_FUNCTION_LIST_PTR real;

static int how(const char *name) {
	const char *h = getenv("SHIM_HOW");
	return h && strcmp(h, name) == 0;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info) {
	CK_RV rv = real->C_GetTokenInfo(slot, info);
	if (rv == CKR_OK) {
		info->flags &= ~(CK_FLAGS)(CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
		if (how("locked-already") || how("locks"))
			info->flags |= CKF_USER_PIN_LOCKED;
		if (how("locks") && access(getenv("SHIM_LOGINS"), F_OK) != 0)
			info->flags &= ~(CK_FLAGS)CKF_USER_PIN_LOCKED;
		if (how("final-try"))
			info->flags |= CKF_USER_PIN_FINAL_TRY;
		if (how("open-token"))
			info->flags &= ~(CK_FLAGS)CKF_LOGIN_REQUIRED;
		if (how("no-pin-yet"))
			info->flags &= ~(CK_FLAGS)CKF_USER_PIN_INITIALIZED;
	}
	return rv;
}

static CK_RV login(CK_SESSION_HANDLE s, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG n) {
	FILE *f = fopen(getenv("SHIM_LOGINS"), "a");
	if (f) {
		fputc('x', f);
		fclose(f);
	}
	if (how("open-token")) /* it wants a PIN for the key alone */
		return user == CKU_CONTEXT_SPECIFIC && n == 6 && memcmp(pin, "482913", 6) == 0 ? CKR_OK : CKR_PIN_INCORRECT;
	if (how("locked"))
		return CKR_PIN_LOCKED;
	if (how("expired"))
		return CKR_PIN_EXPIRED;
	if (how("device"))
		return CKR_DEVICE_ERROR;
	return real->C_Login(s, user, pin, n);
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR app, CK_NOTIFY notify, CK_SESSION_HANDLE_PTR s) {
	CK_RV rv = real->C_OpenSession(slot, flags, app, notify, s);
	if (rv == CKR_OK && how("open-token"))
		rv = real->C_Login(*s, CKU_USER, (CK_UTF8CHAR_PTR) "482913", 6);
	return rv;
}

static CK_RV initialize(CK_VOID_PTR args) {
	if (how("prints")) {
		printf("{\"publicKey\":{}} module 1.0 says hello\n");
		fflush(stdout);
	}
	return real->C_Initialize(args);
}

static CK_RV sign(CK_SESSION_HANDLE s, CK_BYTE_PTR data, CK_ULONG n, CK_BYTE_PTR sig, CK_ULONG_PTR len) {
	CK_RV rv;
	if (how("crashes"))
		abort();
	if (how("pulled-out"))
		return CKR_DEVICE_REMOVED;
	rv = real->C_Sign(s, data, n, sig, len);
	if (rv == CKR_OK && sig && how("short"))
		*len -= 1;
	if (rv == CKR_OK && sig && how("lies"))
		sig[5] ^= 1;
	return rv;
}

static CK_RV attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_PTR a, CK_ULONG n) {
	CK_RV rv = real->C_GetAttributeValue(s, o, a, n);
	CK_ULONG i;
	for (i = 0; rv == CKR_OK && i < n; i++) {
		if (how("gives-away") && a[i].type == CKA_EXTRACTABLE && a[i].pValue)
			*(CK_BBOOL *)a[i].pValue = CK_TRUE;
		if (how("open-token") && a[i].type == CKA_ALWAYS_AUTHENTICATE && a[i].pValue)
			*(CK_BBOOL *)a[i].pValue = CK_TRUE;
		if (how("odd-point") && a[i].type == CKA_EC_POINT && a[i].pValue)
			((CK_BYTE_PTR)a[i].pValue)[a[i].ulValueLen - 1] ^= 1;
		if (how("bare-point") && a[i].type == CKA_EC_POINT && a[i].pValue) {
			memmove(a[i].pValue, (CK_BYTE_PTR)a[i].pValue + 2, 65);
			a[i].ulValueLen = 65;
		}
	}
	return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR out) {
	void *lib = dlopen(getenv("SHIM_REAL"), RTLD_NOW | RTLD_LOCAL);
	CK_C_GetFunctionList get = lib ? (CK_C_GetFunctionList)dlsym(lib, "C_GetFunctionList") : 0;
	CK_RV rv;
	if (!get)
		return CKR_GENERAL_ERROR;
	if ((rv = get(&real)) != CKR_OK)
		return rv;
	list = *real;
	list.C_GetTokenInfo = token_info;
	list.C_Login = login;
	list.C_OpenSession = open_session;
	list.C_Initialize = initialize;
	list.C_Sign = sign;
	list.C_GetAttributeValue = attributes;
	*out = &list;
	return CKR_OK;
}
