/* The greeting of `headworks plugin new`, in C. */
#define HEADWORKS_IMPLEMENTATION
#include "../headworks.h"

static char greeting[64];
static uint32_t greeting_length;

/* Reads `{"greeting": "…"}`: the gateway parses it, as it parses everything. */
bool headworks_configure(headworks_text config, headworks_text *refusal) {
    struct headworks_parsed parsed;
    headworks_document_from_json(config.at, config.length, &parsed);
    if (parsed.failed) {
        *refusal = parsed.reason;
        return false;
    }
    headworks_optional_value found;
    headworks_text pointer = HEADWORKS_TEXT_OF("/greeting");
    headworks_document_get(parsed.document, pointer.at, pointer.length, &found);
    headworks_document_drop(parsed.document);
    if (!found.there || found.value.kind != HEADWORKS_TEXT || found.value.text.length == 0 ||
        found.value.text.length > sizeof greeting) {
        *refusal = HEADWORKS_TEXT_OF("greeting is no text of 1 to 64 bytes");
        return false;
    }
    greeting_length = found.value.text.length;
    memcpy(greeting, found.value.text.at, greeting_length);
    return true;
}

bool headworks_transform(const headworks_event *event, headworks_outputs *outputs, headworks_failure *failure,
                         headworks_text *reason) {
    headworks_optional_value found;
    headworks_text pointer = HEADWORKS_TEXT_OF("/name");
    headworks_document_get(event->data, pointer.at, pointer.length, &found);
    headworks_text name = HEADWORKS_TEXT_OF("stranger");
    if (found.there && found.value.kind == HEADWORKS_TEXT) {
        name = found.value.text;
    } else if (found.there && found.value.kind != HEADWORKS_NULL) {
        headworks_document_drop(event->data);
        *failure = HEADWORKS_REJECTED;
        *reason = HEADWORKS_TEXT_OF("/name: is no text");
        return false;
    }

    char *whole = headworks_allocate(greeting_length + 2 + name.length);
    memcpy(whole, greeting, greeting_length);
    memcpy(whole + greeting_length, ", ", 2);
    memcpy(whole + greeting_length + 2, name.at, name.length);
    headworks_edit edits[] = {
        { .kind = HEADWORKS_MOVE, .move = { HEADWORKS_TEXT_OF("/name"), HEADWORKS_TEXT_OF("/person/name") } },
        { .kind = HEADWORKS_SET,
          .set = { HEADWORKS_TEXT_OF("/person/greeting"),
                   { .kind = HEADWORKS_TEXT, .text = { whole, greeting_length + 2 + name.length } } } },
    };
    struct headworks_applied applied;
    headworks_document_apply(event->data, edits, 2, &applied);
    if (applied.failed) {
        headworks_document_drop(event->data);
        *failure = HEADWORKS_BROKEN;
        *reason = applied.reason;
        return false;
    }

    headworks_output *output = headworks_allocate(sizeof *output);
    output->document = event->data;
    *outputs = (headworks_outputs){ output, 1 };
    return true;
}
