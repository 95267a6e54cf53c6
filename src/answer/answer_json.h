// The JSON of passages, citations and answers: what `px ask --json` and `px search --json` print
// and the gateway sends. Any thread. Shape: design, section 6.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <vector>

#include "answer/answer.h"

namespace px::answer {

/// document_id is the id as the source has it; document the one px knows it by ("reports/R-7",
/// "reports@2026-11-23/R-7"). {score, dense, lexical, chunk_id, document_id, document, source, ds,
/// title, author, category, date, text, text_start, text_end, flags}
boost::json::object to_json(const Passage& passage);
/// {n, quote, chunk_id, document_id, document, title, author, date, category, source: {file,
/// landed, sha256, line, byte_start, byte_end}, table, version, release, text_start, text_end}
boost::json::object to_json(const Citation& citation);
/// [{field, op, value, text}]
boost::json::array to_json(const std::vector<Constraint>& constraints);
/// {score, meaning, words, context, names, kind}
boost::json::object to_json(const generate::Support& support);
/// {question, constraints, support, answer, generator, notice, unsupported, figures, disagreements,
/// sql, grounded, citations, release, elapsed_ms}: docs/answers.md
boost::json::object to_json(const Answer& answer);
/// {verified, steps: [{step, passed}], reason}
boost::json::object to_json(const Verification& verification);
/// A citation as to_json gave it; unknown fields are passed over, absent ones empty. Errors:
/// InvalidArgument (a field's type).
Result<Citation> citation_from_json(const boost::json::object& object);

}  // namespace px::answer
