/*
 * Work on whole batches of packets in one call: sealing and opening with the ChaCha20-Poly1305 contexts that the
 * process made (EVP of the OpenSSL inside of Node), completing and summing Internet checksums (RFC 1071).
 * Addresses come checked; nothing is allocated or kept. Not needed: without it the same is done call by call.
 */
#include <stdint.h>
#include <string.h>

typedef struct evp_cipher_ctx_st CTX;
int EVP_CipherInit_ex(CTX *, const void *, void *, const uint8_t *, const uint8_t *, int);
int EVP_CipherUpdate(CTX *, uint8_t *, int *, const uint8_t *, int);
int EVP_CipherFinal_ex(CTX *, uint8_t *, int *);
int EVP_CIPHER_CTX_ctrl(CTX *, int, int, void *);

enum { GET_TAG = 0x10, SET_TAG = 0x11, TAG = 16 };

struct job {
  CTX *context;
  uint8_t *at;
  uint64_t counter;
  uint32_t length;
  uint32_t done;
};

static int start(const struct job *job, int sealing)
{
  uint8_t nonce[12] = {0};
  memcpy(nonce + 4, &job->counter, 8);
  return EVP_CipherInit_ex(job->context, 0, 0, 0, nonce, sealing) == 1;
}

static int turn(const struct job *job)
{
  uint8_t rest[32];
  int count;
  return EVP_CipherUpdate(job->context, job->at, &count, job->at, (int)job->length) == 1 &&
         EVP_CipherFinal_ex(job->context, rest, &count) == 1;
}

int drover_packets_version(void) { return 1; }

/* `length` without the tag, which is written behind. */
void drover_seal(struct job *jobs, uint32_t count)
{
  for (struct job *job = jobs; job < jobs + count; job++)
    job->done = start(job, 1) && turn(job) &&
                EVP_CIPHER_CTX_ctrl(job->context, GET_TAG, TAG, job->at + job->length) == 1;
}

/* `length` without the tag, which lies behind. */
void drover_open(struct job *jobs, uint32_t count)
{
  for (struct job *job = jobs; job < jobs + count; job++)
    job->done = start(job, 0) &&
                EVP_CIPHER_CTX_ctrl(job->context, SET_TAG, TAG, job->at + job->length) == 1 && turn(job);
}

/* Where the loader can choose, the compiler makes a second, wider version of it. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define WIDER __attribute__((target_clones("avx2", "default")))
#else
#define WIDER
#endif

/* The unfolded sum of 16-bit words in the machine's order; at most 64 KiB, so that it fits. */
WIDER static uint32_t sum_of(const uint8_t *at, uint32_t length)
{
  uint64_t sum = 0;
  uint32_t done = 0;
  for (; done + 32 <= length; done += 32) {
    uint32_t words[8];
    memcpy(words, at + done, 32);
    for (int i = 0; i < 8; i++) sum += words[i];
  }
  for (; done + 2 <= length; done += 2) {
    uint16_t word;
    memcpy(&word, at + done, 2);
    sum += word;
  }
  if (done < length) sum += at[done];
  sum = (sum & 0xffffffff) + (sum >> 32);
  return (uint32_t)((sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32));
}

struct checksum {
  uint8_t *at;
  uint32_t length;
  uint16_t field;
  uint16_t never_zero;
};

/* The field holds the sum of the pseudo header already. */
void drover_complete(const struct checksum *jobs, uint32_t count)
{
  for (const struct checksum *job = jobs; job < jobs + count; job++) {
    uint32_t sum = sum_of(job->at, job->length);
    sum = (sum & 0xffff) + (sum >> 16);
    uint16_t value = (uint16_t)~((sum & 0xffff) + (sum >> 16));
    if (value == 0 && job->never_zero) value = 0xffff;
    memcpy(job->at + job->field, &value, 2);
  }
}

/* Sums of packets at offsets from `base`. */
void drover_sums(const uint8_t *base, const uint32_t *at, const uint32_t *length, uint32_t *sums, uint32_t count)
{
  for (uint32_t i = 0; i < count; i++) sums[i] = sum_of(base + at[i], length[i]);
}
