// Writes the page's files as one C++ file: node embed.mjs OUT.cpp FOLDER...
// Every file of each folder becomes a WebFile under its path relative to the folder. Deterministic.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { gzipSync, constants } from 'node:zlib';

const types = {
    '.html': 'text/html; charset=utf-8',
    '.css': 'text/css; charset=utf-8',
    '.js': 'text/javascript; charset=utf-8',
    '.svg': 'image/svg+xml',
    '.txt': 'text/plain; charset=utf-8',
};

function walk(folder, prefix = '') {
    return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
        const path = `${prefix}/${entry.name}`;
        return entry.isDirectory() ? walk(join(folder, entry.name), path) : [{ path, file: join(folder, entry.name) }];
    });
}

function literal(bytes) {
    if (bytes.length === 0) return '""';
    const lines = [];
    for (let at = 0; at < bytes.length; at += 64) {
        let line = '';
        for (const byte of bytes.subarray(at, at + 64)) line += `\\${byte.toString(8).padStart(3, '0')}`;
        lines.push(`    "${line}"`);
    }
    return `\n${lines.join('\n')}`;
}

const [out, ...folders] = process.argv.slice(2);
if (!out || folders.length === 0) {
    console.error('usage: node embed.mjs OUT.cpp FOLDER...');
    process.exit(2);
}
const files = folders.flatMap((folder) => walk(folder)).sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
const constantsText = [];
const entries = [];
files.forEach(({ path, file }, index) => {
    const type = types[extname(path)];
    if (!type) throw new Error(`no content type for ${path}`);
    const bytes = readFileSync(file);
    const packed = gzipSync(bytes, { level: constants.Z_BEST_COMPRESSION });
    const pays = packed.length < bytes.length * 0.9;
    const etag = createHash('sha256').update(bytes).digest('hex').slice(0, 32);
    constantsText.push(`constexpr char kBytes${index}[] =${literal(bytes)};`);
    constantsText.push(`constexpr char kGzip${index}[] =${literal(pays ? packed : Buffer.alloc(0))};`);
    entries.push(
        `    {"${path}", "${type}", "\\"${etag}\\"", std::string_view(kBytes${index}, sizeof kBytes${index} - 1), ` +
            `std::string_view(kGzip${index}, sizeof kGzip${index} - 1)},`,
    );
});
writeFileSync(
    out,
    `// Made from the files of web/ by web/tools/embed.mjs.
#include "gateway/web_files.h"

namespace px::gateway {
namespace {

${constantsText.join('\n')}

constexpr WebFile kFiles[] = {
${entries.join('\n')}
};

}  // namespace

std::span<const WebFile> web_files() { return kFiles; }

}  // namespace px::gateway
`,
);
