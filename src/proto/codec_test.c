/* The strict decoder: one encoding per message, bounded memory, everything else refused. */
#include "proto/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"
#include "nacre/api.pb-c.h"
#include "nacre/seal.pb-c.h"
#include "nacre/state.pb-c.h"
#include "nacre/tx.pb-c.h"

static err_t unpack(const ProtobufCMessageDescriptor *type, const char *hex) {
    uint8_t data[512];
    size_t size = strlen(hex) / 2;
    assert_true(size <= sizeof data);
    assert_int_equal(hex_decode(data, size, hex), OK);
    ProtobufCMessage *message = NULL;
    err_t err = codec_unpack(&message, type, bytes_of(data, size), LIMIT_TX);
    assert_true((err == OK) == (message != NULL)); /* the output is written only on OK */
    codec_free(message);
    return err;
}

#define TX(hex) unpack(&nacre__tx__descriptor, (hex))
#define COMMAND(hex) unpack(&nacre__command__descriptor, (hex))

static void canonical_bytes_are_taken(void **state) {
    (void)state;
    assert_int_equal(TX(""), OK);
    assert_int_equal(TX("0a0101"), OK);
    assert_int_equal(TX("0a01011200"), OK);                  /* an empty nested message that is present */
    assert_int_equal(TX("0a0101120408011200"), E_MALFORMED); /* public_key present but empty */
    assert_int_equal(TX("0a01011205080112010a"), OK);        /* scheme, one-byte key */
    assert_int_equal(TX("12001200"), OK);                    /* two repeated ones */
    assert_int_equal(COMMAND("1001"), OK);
    assert_int_equal(COMMAND("10ffffffffffffffffff01"), OK);                       /* UINT64_MAX */
    assert_int_equal(unpack(&nacre__release_request__descriptor, "2a020102"), OK); /* packed epochs */
    assert_int_equal(unpack(&nacre__worker_record__descriptor, "1a027730"), OK);   /* a string */
    assert_int_equal(unpack(&nacre__command_receipt__descriptor, "3001"), OK);     /* sint32 -1 */
}

static void other_encodings_are_refused(void **state) {
    (void)state;
    static const struct {
        const ProtobufCMessageDescriptor *type;
        const char *hex, *why;
    } bad[] = {
        {&nacre__command__descriptor, "1000", "an explicit default number"},
        {&nacre__command__descriptor, "0a00", "explicit empty bytes"},
        {&nacre__worker_record__descriptor, "1a00", "an explicit empty string"},
        {&nacre__cluster_record__descriptor, "7000", "an explicit false"},
        {&nacre__cluster_record__descriptor, "7002", "a bool of 2"},
        {&nacre__command__descriptor, "108100", "a varint longer than it must be"},
        {&nacre__command__descriptor, "10818000", "a varint much longer than it must be"},
        {&nacre__command__descriptor, "10ffffffffffffffffff02", "a varint beyond 64 bits"},
        {&nacre__command__descriptor, "90000201", "a tag longer than it must be"},
        {&nacre__signature__descriptor, "08808080801002", "a uint32 beyond 32 bits"},
        {&nacre__command__descriptor, "10021002", "a number twice"},
        {&nacre__command__descriptor, "10011002", "a number twice, differing"},
        {&nacre__command__descriptor, "0a01010a0102", "bytes twice"},
        {&nacre__command__descriptor, "20011002", "fields out of order"},
        {&nacre__command__descriptor, "10024001", "an unknown number at the end"},
        {&nacre__command__descriptor, "42010a", "unknown bytes alone"},
        {&nacre__command__descriptor, "10024201aa", "unknown bytes at the end"},
        {&nacre__command__descriptor, "10024d01020304", "an unknown fixed32 at the end"},
        {&nacre__command__descriptor, "100241010203040506070809", "an unknown fixed64 at the end"},
        {&nacre__command__descriptor, "1002f8ffffff0f01", "the highest field number"},
        {&nacre__tx__descriptor, "12022801", "an unknown field in a repeated message"},
        {&nacre__tx__descriptor, "0a01011200120408012801", "an unknown field in the second one"},
        {&nacre__tx_body__descriptor, "52025001", "an unknown field inside the oneof"},
        {&nacre__tx_body__descriptor, "52005a00", "two members of one oneof"},
        {&nacre__tx_body__descriptor, "52005200", "one member of a oneof twice"},
        {&nacre__query_body__descriptor,
         "0a042202"
         "2801",
         "an unknown field two levels down"},
        {&nacre__release_request__descriptor, "28012802", "a packed list sent unpacked"},
        {&nacre__release_request__descriptor, "2a01012a0102", "a packed list in two pieces"},
        {&nacre__release_request__descriptor, "2a028100", "a long varint in a packed list"},
        {&nacre__release_request__descriptor, "2a00", "an empty packed list"},
        {&nacre__release_request__descriptor, "2a0181", "a packed list cut inside a number"},
        {&nacre__worker_record__descriptor, "1a03773000", "a string with a zero byte"},
        {&nacre__command_receipt__descriptor, "3000", "an explicit zero sint32"},
        {&nacre__command__descriptor, "1a01", "bytes cut short"},
        {&nacre__command__descriptor, "1aff", "a length cut short"},
        {&nacre__command__descriptor, "1affffffff0f01", "a length beyond everything"},
        {&nacre__command__descriptor, "10", "a tag alone"},
        {&nacre__command__descriptor, "00", "field number zero"},
        {&nacre__command__descriptor, "0801", "a number where bytes are expected"},
        {&nacre__command__descriptor, "120101", "bytes where a number is expected"},
        {&nacre__command__descriptor, "0b0c", "a group"},
        {&nacre__command__descriptor, "0f", "wire type 7"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err_t err = unpack(bad[i].type, bad[i].hex);
        if (err != E_MALFORMED) fail_msg("%s (%s): %s", bad[i].why, bad[i].hex, err_name(err));
    }
}

/* Every bit of a real message: what is still accepted encodes to exactly what was sent. */
static void accepted_means_the_same_bytes(void **state) {
    (void)state;
    Nacre__Command command = NACRE__COMMAND__INIT;
    uint8_t key[32], data[300];
    memset(key, 0xa5, sizeof key);
    memset(data, 0x3c, sizeof data);
    command.program = CODEC_ARRAY(key);
    command.epoch = 300;
    command.enc = CODEC_ARRAY(key);
    command.seq = 1;
    command.gas_limit = 1000000;
    command.ciphertext = CODEC_ARRAY(data);
    struct buf b, again;
    buf_init(&b, 4096);
    buf_init(&again, 4096);
    codec_pack(&b, &command);
    assert_int_equal(buf_err(&b), OK);
    size_t accepted = 0;
    for (size_t bit = 0; bit < 8 * b.size; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ProtobufCMessage *message;
        if (codec_unpack(&message, &nacre__command__descriptor, buf_bytes(&b), 4096) == OK) {
            buf_clear(&again);
            codec_pack(&again, message);
            assert_true(bytes_equal(buf_bytes(&again), buf_bytes(&b)));
            codec_free(message);
            accepted++;
        }
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_in_range(accepted, 8 * (32 + 32 + 300), 8 * b.size - 1); /* the contents are free, the frame is not */
    for (size_t cut = 1; cut < b.size; cut++) {
        ProtobufCMessage *message;
        err_t err = codec_unpack(&message, &nacre__command__descriptor, bytes_of(b.data, cut), 4096);
        if (err == OK) { /* cut between two fields */
            buf_clear(&again);
            codec_pack(&again, message);
            assert_int_equal(again.size, cut);
            codec_free(message);
        }
    }
    buf_fini(&b);
    buf_fini(&again);
}

static void sizes_are_bounded(void **state) {
    (void)state;
    ProtobufCMessage *message;
    static uint8_t zeros[2 * 200000];
    assert_int_equal(codec_unpack(&message, &nacre__tx__descriptor, bytes_of(zeros, 101), 100), E_TOO_BIG);
    assert_int_equal(codec_unpack(&message, &nacre__tx__descriptor, BYTES_NONE, 0), OK);
    codec_free(message);
    codec_free(NULL);

    /* Two bytes each that would cost a hundred: refused by the memory they would take. */
    for (size_t i = 0; i < sizeof zeros; i += 2) zeros[i] = 0x1a;
    assert_int_equal(codec_unpack(&message, &nacre__log_page__descriptor, BYTES(zeros), sizeof zeros), E_MALFORMED);
    /* A number of them that no honest sender exceeds is fine. */
    assert_int_equal(codec_unpack(&message, &nacre__log_page__descriptor, bytes_of(zeros, 400), sizeof zeros), OK);
    codec_free(message);
}

static void big_messages_are_taken(void **state) {
    (void)state;
    /* As many members, votes and headers as limits allow: far inside the budget. */
    enum { COUNT = 65536 };
    Nacre__LogPage page = NACRE__LOG_PAGE__INIT;
    static Nacre__LogEntry entries[COUNT];
    static Nacre__LogEntry *list[COUNT];
    uint8_t header[106] = {1};
    for (size_t i = 0; i < COUNT; i++) {
        nacre__log_entry__init(&entries[i]);
        entries[i].header = CODEC_ARRAY(header);
        list[i] = &entries[i];
    }
    page.entries = list;
    page.n_entries = COUNT;
    struct buf b;
    buf_init(&b, LIMIT_HTTP_RESPONSE);
    codec_pack(&b, &page);
    assert_int_equal(buf_err(&b), OK);
    Nacre__LogPage *decoded;
    assert_int_equal(CODEC_UNPACK(&decoded, nacre__log_page, buf_bytes(&b), LIMIT_HTTP_RESPONSE), OK);
    assert_int_equal(decoded->n_entries, COUNT);
    codec_free(decoded);
    buf_fini(&b);
}

static void packing_into_a_full_buffer_fails(void **state) {
    (void)state;
    Nacre__Command command = NACRE__COMMAND__INIT;
    command.seq = 1;
    struct buf b;
    buf_init(&b, 1);
    codec_pack(&b, &command);
    assert_int_equal(buf_err(&b), E_TOO_BIG);
    buf_fini(&b);
}

static void fields_have_sizes(void **state) {
    (void)state;
    uint8_t four[4] = {1, 2, 3, 4}, out[4] = {0}, untouched[4] = {9, 9, 9, 9};
    assert_int_equal(codec_copy(out, 4, CODEC_ARRAY(four)), OK);
    assert_memory_equal(out, four, 4);
    assert_int_equal(codec_copy(untouched, 3, CODEC_ARRAY(four)), E_MALFORMED);
    assert_int_equal(codec_copy(untouched, 4, codec_field(BYTES_NONE)), E_MALFORMED);
    assert_int_equal(untouched[0], 9);
    assert_true(bytes_equal(codec_bytes(CODEC_ARRAY(four)), BYTES(four)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_bytes_are_taken),
        cmocka_unit_test(other_encodings_are_refused),
        cmocka_unit_test(accepted_means_the_same_bytes),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(big_messages_are_taken),
        cmocka_unit_test(packing_into_a_full_buffer_fails),
        cmocka_unit_test(fields_have_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
