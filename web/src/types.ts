// What the API says, as the page reads it. Specified in docs/formats/api.md.

export interface Problem {
    title: string;
    status: number;
    detail: string;
    code: string;
    hint?: string;
    request_id?: string;
}

export interface Passage {
    score: number;
    chunk_id: string;
    document_id: string;
    source: string;
    title: string;
    author: string;
    category: string;
    date: string;
    text: string;
    text_start: number;
    text_end: number;
    flags?: string[];
}

export interface Citation {
    n: number;
    quote: string;
    chunk_id: string;
    document_id: string;
    title: string;
    author: string;
    date: string;
    category: string;
    source: { file: string; landed: string; sha256: string; line: number; byte_start: number; byte_end: number };
    table: string;
    version: number;
    release: number;
    text_start: number;
    text_end: number;
}

export interface Constraint {
    field: string;
    op: string;
    value: string;
    text: string;
}

export interface Answer {
    question: string;
    constraints: Constraint[];
    generator: string;
    notice: string;
    unsupported: string[];
    disagreements: { citations: number[]; values: string[]; dates: string[] }[];
    sql: { query: string; table: string; explanation: string } | null;
    answer: string;
    grounded: boolean;
    citations: Citation[];
    release: number;
    elapsed_ms: number;
}

export interface Sentence {
    text: string;
    citations: Citation[];
    supported?: boolean;
}

export interface CitationDetail {
    citation: Citation;
    passage: { text: string; text_start: number; text_end: number };
    context: { text: string; text_start: number; text_end: number; document_bytes: number } | null;
    context_problem: string | null;
    run: string;
    published_at: string;
}

export interface Verification {
    verified: boolean;
    steps: { step: string; passed: boolean }[];
    reason: string;
}

/** Counts that are null: who reads sees only some of what is counted (docs/policies.md). */
export interface Release {
    id: number;
    run: string;
    ds: string;
    published_at: string;
    documents: number | null;
    chunks: number | null;
    tables: Record<string, number>;
    index_manifest: string;
}

export interface Run {
    id: string;
    ds: string;
    state: string;
    started_at: string | null;
    finished_at: string | null;
    duration_ms: number | null;
    message: string;
    release: number | null;
    report: unknown;
}

export interface RunDetail {
    run: Run;
    tasks: { task: string; attempt: number; state: string; started_at: string | null; finished_at: string | null; message: string }[];
    checks: { source: string; check: string; expected: string; actual: string; passed: boolean }[];
    quarantine: { source: string; rule: string; count: number }[];
    landed: { source: string; file: string; landed: string; sha256: string; size_bytes: number }[];
    pipeline_text: string;
}

export interface Table {
    name: string;
    version: number;
    columns: { name: string; type: string; nullable: boolean }[];
    partition_columns: string[];
    file_count: number | null;
    size_bytes: number | null;
    row_count: number | null;
}

export type Cell = string | number | boolean | null;

export interface Grid {
    columns: string[];
    types: string[];
    rows: Cell[][];
    row_count: number;
    truncated: boolean;
    elapsed_ms: number;
    release: number;
}

export interface Health {
    status: 'ok' | 'empty';
    version: string;
    pipeline: string;
    release: Release | null;
    points: number | null;
    model: string;
}

export interface Documents {
    authors: { name: string; count: number }[];
    total: number;
}
