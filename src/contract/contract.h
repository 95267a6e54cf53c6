// Contract: what a source promises: columns, types, rules; and what happens to what breaks it.
// Pure: no I/O. Rank 2. A Contract is an immutable value; a Validator belongs to one thread. The
// grammar of every type is written in docs/formats/contract.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "columnar/record_batch.h"
#include "source/record.h"

namespace px::contract {

/// Acl: which groups may read the row (contract/acl.h).
enum class Role { None, Id, Title, Author, Date, Category, Text, Acl };
enum class Transform { Trim, Lower, Upper, TitleCase, CollapseSpaces };
enum class ExtraColumns { Reject, Keep, Drop };

/// An unreadable value rejects its record, optional or not; only the texts of null_values mean "no
/// value".
struct ColumnRule {
    std::string name;
    columnar::DataType type;
    bool required =
        false;  ///< the column must be in the header; a record without a value is rejected
    bool unique = false;  ///< over all records of one run of the source
    Role role = Role::None;
    std::vector<Transform> transforms;         ///< in order, before anything else
    std::optional<std::string> default_value;  ///< for a missing column or an empty value
    std::vector<std::string> one_of;           ///< empty: anything
    std::optional<std::string> min,
        max;  ///< in the column's own grammar; inclusive. Strings: length in code points
    std::optional<std::string>
        pattern;  ///< ECMAScript regular expression, whole value of at most 4 KiB
};

struct TableCheck {
    std::string name;  ///< default "check 1", …
    std::string
        sql;  ///< one SELECT over `staged` (and the release's tables); first cell of first row
    std::string expect;  ///< text it must equal
};

struct Contract {
    std::string name;
    std::vector<ColumnRule> columns;
    ExtraColumns extra_columns = ExtraColumns::Reject;
    double halt_above = 0.0;  ///< share of rejected records in [0, 1] above which the gate halts
    std::optional<double> max_drop;  ///< halt when the row count falls by more than this share
                                     ///< against the last release
    std::vector<TableCheck> checks;
    std::vector<std::string> null_values{""};  ///< texts (unquoted or quoted) that mean "no value"

    /// InvalidArgument for a bad type, a default outside one_of, two id roles, a bad pattern …,
    /// naming the column.
    Result<void> validate() const;
    const ColumnRule* with_role(Role role) const;
    /// The table's columns: the contract's in order, then kept extra columns (string), then the
    /// provenance columns kProvenanceColumns. Required columns are still nullable in the file.
    columnar::Schema table_schema(const std::vector<std::string>& kept_extra_columns) const;
};

/// "string", "integer" (64 bit), "double", "boolean", "date", "timestamp", "decimal(p,s)". Errors:
/// InvalidArgument.
Result<columnar::DataType> parse_type(std::string_view text);

/// Where each row came from: _px_file (string: landed key), _px_line, _px_start, _px_end (long).
inline constexpr std::string_view kProvenanceColumns[] = {"_px_file", "_px_line", "_px_start",
                                                          "_px_end"};

/// Outcome of a header against the contract: the field index of each column, or the halt.
struct HeaderBinding {
    std::vector<std::optional<size_t>> field_of_column;  ///< per contract column
    std::vector<size_t> extra_fields;                    ///< fields kept as extra columns
    std::vector<std::string> extra_names;
};
/// Matches exactly by name. Errors: ContractViolated for a missing required column, a duplicate, or
/// an unknown one with extra_columns reject; the message names file, column, the columns found, and
/// the nearest name when one looks renamed.
Result<HeaderBinding> bind_header(const Contract& contract, const std::vector<std::string>& found,
                                  std::string_view file);

/// Why a record was rejected.
struct Verdict {
    std::string rule;  ///< "required", "type", "one_of", "min", "max", "pattern", "unique", or the
                       ///< reader's rule
    std::string column;  ///< empty for record-level rules
    std::string value;   ///< the offending value, cut to 200 bytes
    std::string reason;  ///< for people
};

struct RejectedRow {
    uint32_t row_index = 0;  ///< the record's place in its block
    Verdict verdict;
};

/// What a stretch of records holds in unique columns, and which of them fail otherwise: for judging
/// uniqueness apart, in the order of the records, when they are judged on several threads.
/// Malformed records are not among them.
struct PendingKeys {
    std::vector<uint32_t> failed_columns;  ///< one a record; above all columns: none failed
    std::vector<std::pair<uint64_t, uint64_t>> keys;  ///< one a record and unique column
    void clear() {
        failed_columns.clear();
        keys.clear();
    }
};

/// A record that breaks the rule unique.
struct Duplicate {
    size_t record = 0;  ///< its place among those of a PendingKeys
    uint32_t column = 0;
};

/// One value in its column, parsed. Used by Validator; public for tests and for other engines'
/// cases. Errors: InvalidArgument with the reason.
Result<void> parse_into(columnar::Column& column, std::string_view text);

/// Applies a transform; result replaces value.
void apply_transform(Transform transform, std::string& value);

/// How a Validator judges uniqueness; see Validator::judge_unique.
struct UniqueApart {
    PendingKeys* pending = nullptr;  ///< gets the keys; nothing is found to be a duplicate
    const std::vector<Duplicate>* duplicates = nullptr;  ///< of the records from here on, rising
};

/// Turns records into typed rows. Holds the keys of unique columns: 16 bytes a distinct value, up
/// to 30 with the free slots. Of a record that breaks several rules the first column in the
/// contract's order is named; keys are those of accepted records only.
class Validator {
  public:
    static Result<std::unique_ptr<Validator>> create(const Contract& contract,
                                                     HeaderBinding binding);
    virtual ~Validator() = default;
    /// Goes on with another file of the same source, whose header was bound anew: the keys of
    /// unique columns are kept. out of later validate() calls has the schema
    /// table_schema(binding.extra_names); its provenance columns are left alone.
    virtual Result<void> rebind(HeaderBinding binding) = 0;
    /// One record: fields in header order (nullopt: absent). Ok with nullopt: the typed row was
    /// appended to out (without the provenance columns, which the caller appends); a Verdict:
    /// nothing was appended.
    virtual std::optional<Verdict> validate(
        const std::vector<std::optional<std::string_view>>& fields, columnar::RecordBatch& out) = 0;
    /// A whole block, several times faster than record by record, with the same outcome. Appends
    /// the good rows to out (without the provenance columns), their places in the block to
    /// accepted, and the others, malformed ones included, to rejected; both rise. Neither is
    /// cleared before.
    virtual void validate_block(const source::RecordBlock& block, columnar::RecordBatch& out,
                                std::vector<uint32_t>& accepted,
                                std::vector<RejectedRow>& rejected) = 0;
    virtual bool has_unique() const = 0;
    /// From now on duplicates are not looked for: their keys are noted, or they are known. Neither:
    /// as usual.
    virtual void judge_unique(const UniqueApart& apart) = 0;
    /// The duplicates among the records, which follow all those judged or asked for before; takes
    /// the keys of the others. rising.
    virtual std::vector<Duplicate> find_duplicates(const PendingKeys& pending) = 0;
};

/// Appends the provenance columns, the last of out, for the accepted rows of a block.
void append_provenance(columnar::RecordBatch& out, std::string_view landed_key,
                       const source::RecordBlock& block, const std::vector<uint32_t>& accepted);

}  // namespace px::contract
