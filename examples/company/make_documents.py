#!/usr/bin/env python3
"""Writes the two binary documents of the sample company: a docx and a pdf.

The files are committed; run this only to change them. Python's standard library is enough, and the same
source gives the same bytes everywhere (nothing is compressed, every date is fixed).

    python3 make_documents.py            writes data/documents/...
    python3 make_documents.py --check    exits 1 if a committed file differs
"""
import io
import pathlib
import sys
import zipfile
from xml.sax.saxutils import escape

HERE = pathlib.Path(__file__).resolve().parent / "data" / "documents"

# Markup of the texts below: "# " heading, "- " list item, "a | b" table row, blank line between blocks.

OUTLOOK = """\
# Financial outlook 2026

This paper explains the outlook that the board approved on 13 November 2025. It is written for banks and large customers. All figures are in euro.

# Summary

We expect revenue of 66.0 to 67.5 million in 2026, after about 61.7 million in 2025. That is a growth of 7 to 9 percent. The EBITDA margin should rise to 23 percent, which means about 15.3 million. We will invest 11.5 million and still reduce net debt below 1.5 times EBITDA by the end of the year.

Figure | 2024 | 2025 (expected) | 2026 (outlook)
Revenue, million | 58.1 | 61.7 | 66.0 to 67.5
EBITDA, million | 12.4 | 13.7 | 15.3
EBITDA margin | 21.4 % | 22.2 % | 23 %
Investment, million | 7.3 | 9.6 | 11.5
Net debt to EBITDA | 2.0 | 1.6 | below 1.5

# Where the growth comes from

Osterby hall 3 opens in March 2026 with 14,000 pallet positions. With an average of 4,900 positions in use over the year it brings about 2.6 million of revenue. Storage rates rise by 2.9 percent on 1 January 2026 under the index clauses of our contracts, which is worth about 1.6 million. Kestrel Pharma, a customer since June 2025, contributes a further 0.9 million because 2026 is its first full year.

At the time of writing, 83 percent of the planned revenue of 2026 is under contract. A year ago the figure was 79 percent.

# Costs

We expect energy costs of 8.0 million, after 8.2 million in 2025, although hall 3 needs additional electricity. 75 percent of the electricity has been bought in advance at an average of 81 euro per megawatt hour. The wage bill rises from 21.6 million to about 23.1 million, of which 0.7 million comes from the collective agreement of 3.2 percent.

# Investment

- Osterby hall 3: 6.8 million, the last instalment of 15.4 million
- Conversion of the refrigeration at Marrick to CO2: 2.4 million
- Solar panels at Port Ansel: 1.3 million
- Other projects: 1.0 million

In 2027 investment falls to about 6 million unless the board decides in September 2026 to build on the plot next to the Fenwold site.

# Risks and what they would cost

- A start of hall 3 three months late would lower revenue by 0.9 million and EBITDA by 0.5 million.
- If Solmar Seafood did not renew its contract in September 2026, revenue in 2026 would be 1.2 million lower and in 2027 about 5 million lower.
- A rise of the electricity price by 10 percent would cost 0.2 million in 2026, thanks to the purchases in advance.
- A compressor failure like the one at Marrick in August 2024 would cost about 0.2 million after insurance.

If the first two happened together, revenue would still be above 64 million and EBITDA above 14 million. The covenants of our loans, net debt of at most 3.0 times EBITDA, would be kept in every case we have calculated.

# Beyond 2026

For 2027 we see revenue of about 71 million if hall 3 is 90 percent full and Solmar Seafood stays. The margin of 23 percent is a level we want to hold, not to exceed: the gains of the automatic hall are to pay for better shifts and for maintenance in time.
"""

AMMONIA = """\
# Incident report: ammonia leak at Port Ansel, 3 February 2025

Author: Elena Castellan, head of safety and quality. Date of this report: 27 February 2025.

# Summary

On Monday, 3 February 2025, at 13:26 about 6 kilograms of ammonia escaped in plant room 2 at Port Ansel. 41 people were evacuated within seven minutes. Nobody was injured and no ammonia left the building. The site stood still for 2 hours and 10 minutes. No goods were lost. The cost was 62,000 euro.

# What happened

At 13:26 the gas detector in plant room 2 measured 28 ppm and raised the alarm. The emergency ventilation started on its own. At 13:28 the site manager Ingrid Solheim ordered the evacuation. At 13:33 everyone had reached the meeting point; two drivers had gone to the wrong gate and were found by radio.

The fire service arrived at 13:41 with eleven people. Two of them entered the plant room at 13:58 in protective suits and closed the valve in front of oil separator 2. At 14:20 the measured value was below 5 ppm. The fire service released the building at 15:36.

The temperature in the chambers rose by no more than 0.8 degrees, because compressors 3 and 4 in plant room 1 kept running.

# Cause

The gasket at the drain valve of oil separator 2 was cracked. It was eleven years old. The maker recommends a replacement after eight years, but the gasket was missing from our maintenance list because the separator had been bought second-hand in 2014 and its papers were incomplete.

# What went well

- The alarm, the ventilation and the call to the fire service worked as planned.
- The decision to evacuate was taken within two minutes.
- Plant rooms 1 and 2 are separated, so that the cold supply never failed.

# What did not go well

- Plant room 2 has a single gas detector. Had it failed, nobody would have noticed the leak before the next round at 15:00.
- The evacuation took seven minutes; the target is five.
- The list of people on the site was incomplete: visiting drivers are not recorded at gate B.

# Actions

- All 212 gaskets of the ammonia plants at Port Ansel and Fenwold are checked and replaced if older than eight years. Done for Port Ansel by 30 April 2025, for Fenwold by 30 June 2025. Responsible: Priya Nambiar.
- A second gas detector in each plant room. Planned by 31 October 2025, 38,000 euro. Responsible: Priya Nambiar.
- Visiting drivers register at both gates with a badge. In force since 17 February 2025. Responsible: Tobias Renner.
- Two evacuation exercises a year, one of them unannounced. Responsible: Elena Castellan.
- Every second-hand machine gets a complete maintenance list before it is started. Responsible: Priya Nambiar.

# Cost

Standstill and overtime cost 27,000 euro, the fire service 9,000 euro, and repair and inspection 26,000 euro. The second gas detectors are not included. The insurance was not called upon.
"""


def blocks(text):
    """Yields (kind, lines): heading, list, table or paragraph."""
    for block in text.strip().split("\n\n"):
        lines = block.split("\n")
        if lines[0].startswith("# "):
            yield "heading", [lines[0][2:]]
        elif lines[0].startswith("- "):
            yield "list", [line[2:] for line in lines]
        elif " | " in lines[0]:
            yield "table", lines
        else:
            yield "paragraph", lines


# ---------------------------------------------------------------- docx (ECMA-376)

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def docx_paragraph(text, style=None, item=False):
    properties = ""
    if style:
        properties += f'<w:pStyle w:val="{style}"/>'
    if item:
        properties += '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>'
    if properties:
        properties = f"<w:pPr>{properties}</w:pPr>"
    return f'<w:p>{properties}<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'


def docx_table(lines):
    rows = ""
    for line in lines:
        cells = "".join(
            f'<w:tc><w:tcPr><w:tcW w:w="0" w:type="auto"/></w:tcPr>{docx_paragraph(cell)}</w:tc>'
            for cell in line.split(" | "))
        rows += f"<w:tr>{cells}</w:tr>"
    grid = "<w:gridCol/>" * len(lines[0].split(" | "))
    border = 'w:val="single" w:sz="4" w:space="0" w:color="999999"'
    borders = "".join(f"<w:{side} {border}/>" for side in ("top", "left", "bottom", "right", "insideH", "insideV"))
    return (f'<w:tbl><w:tblPr><w:tblW w:w="0" w:type="auto"/><w:tblBorders>{borders}</w:tblBorders></w:tblPr>'
            f"<w:tblGrid>{grid}</w:tblGrid>{rows}</w:tbl>")


def make_docx(text, title, author, created, category):
    body = ""
    first = True
    for kind, lines in blocks(text):
        if kind == "heading":
            body += docx_paragraph(lines[0], "Title" if first else "Heading1")
        elif kind == "list":
            body += "".join(docx_paragraph(line, "ListParagraph", item=True) for line in lines)
        elif kind == "table":
            body += docx_table(lines)
        else:
            body += docx_paragraph(" ".join(lines))
        first = False
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    word = "application/vnd.openxmlformats-officedocument.wordprocessingml"

    def style(identity, name, size, bold):
        weight = "<w:b/>" if bold else ""
        return (f'<w:style w:type="paragraph" w:styleId="{identity}"><w:name w:val="{name}"/>'
                f'<w:pPr><w:spacing w:before="120" w:after="120"/></w:pPr><w:rPr>{weight}<w:sz w:val="{size}"/></w:rPr></w:style>')

    parts = {
        "[Content_Types].xml": head + f'<Types xmlns="{package}/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{word}.document.main+xml"/>'
            f'<Override PartName="/word/styles.xml" ContentType="{word}.styles+xml"/>'
            f'<Override PartName="/word/numbering.xml" ContentType="{word}.numbering+xml"/>'
            '<Override PartName="/docProps/core.xml" ContentType="application/vnd.openxmlformats-package.core-properties+xml"/></Types>',
        "_rels/.rels": head + f'<Relationships xmlns="{package}/relationships">'
            f'<Relationship Id="rId1" Type="{office}/officeDocument" Target="word/document.xml"/>'
            f'<Relationship Id="rId2" Type="{package}/relationships/metadata/core-properties" Target="docProps/core.xml"/></Relationships>',
        "word/_rels/document.xml.rels": head + f'<Relationships xmlns="{package}/relationships">'
            f'<Relationship Id="rId1" Type="{office}/styles" Target="styles.xml"/>'
            f'<Relationship Id="rId2" Type="{office}/numbering" Target="numbering.xml"/></Relationships>',
        "word/document.xml": head + f'<w:document xmlns:w="{W}"><w:body>{body}<w:sectPr/></w:body></w:document>',
        "word/styles.xml": head + f'<w:styles xmlns:w="{W}">' + style("Normal", "Normal", 22, False)
            + style("Title", "Title", 40, True) + style("Heading1", "heading 1", 28, True)
            + style("ListParagraph", "List Paragraph", 22, False) + "</w:styles>",
        "word/numbering.xml": head + f'<w:numbering xmlns:w="{W}"><w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0">'
            '<w:start w:val="1"/><w:numFmt w:val="bullet"/><w:lvlText w:val="&#8226;"/><w:pPr><w:ind w:left="720" w:hanging="360"/></w:pPr>'
            '</w:lvl></w:abstractNum><w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num></w:numbering>',
        "docProps/core.xml": head + f'<cp:coreProperties xmlns:cp="{package}/metadata/core-properties" '
            'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
            f'<dc:title>{escape(title)}</dc:title><dc:creator>{escape(author)}</dc:creator>'
            f'<dcterms:created xsi:type="dcterms:W3CDTF">{created}T09:00:00Z</dcterms:created>'
            f'<cp:category>{escape(category)}</cp:category></cp:coreProperties>',
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.create_system = 3
            archive.writestr(info, content.encode("utf-8"))
    return out.getvalue()


# ---------------------------------------------------------------- pdf (ISO 32000-1)

# Widths of Helvetica's printable ASCII in 1/1000 of the letter size.
WIDTHS = [278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556,
          556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667,
          556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556,
          556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722,
          500, 500, 500, 334, 260, 334, 584]


def width(text, size):
    return sum(WIDTHS[ord(c) - 32] for c in text) * size / 1000


def wrap(text, size, room):
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if line and width(longer, size) > room:
            yield line
            line = word
        else:
            line = longer
    yield line


def pdf_string(text):
    return "(" + text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") + ")"


def make_pdf(text, title, author, created, category):
    left, right, top, bottom = 72, 523, 770, 72
    pages, operators, y = [], [], top
    first = True

    def put(line, x, size, font, leading):
        nonlocal y, operators
        if y - leading < bottom:
            pages.append(operators)
            operators, y = [], top
        y -= leading
        operators.append(f"BT /{font} {size} Tf 1 0 0 1 {x} {y:.1f} Tm {pdf_string(line)} Tj ET")

    for kind, lines in blocks(text):
        if kind == "heading":
            size = 17 if first else 13
            y -= 10
            for line in wrap(lines[0], size * 1.06, right - left):
                put(line, left, size, "F2", size * 1.3)
        elif kind == "list":
            for item in lines:
                for number, line in enumerate(wrap(item, 10.5, right - left - 14)):
                    put("- " + line if number == 0 else line, left if number == 0 else left + 6, 10.5, "F1", 14)
        else:
            for line in wrap(" ".join(lines), 10.5, right - left):
                put(line, left, 10.5, "F1", 14)
        y -= 9
        first = False
    pages.append(operators)

    stamp = "D:" + created.replace("-", "") + "090000Z"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{' '.join(f'{6 + 2 * i} 0 R' for i in range(len(pages)))}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
        f"<< /Title {pdf_string(title)} /Author {pdf_string(author)} /Keywords {pdf_string(category)} "
        f"/CreationDate {pdf_string(stamp)} >>",
    ]
    for number, page in enumerate(pages):
        stream = "\n".join(page)
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {7 + 2 * number} 0 R "
                       "/Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> >>")
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    out = "%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n" + "".join(f"{o:010} 00000 n \n" for o in offsets)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info 5 0 R >>\nstartxref\n{start}\n%%EOF\n"
    return out.encode("ascii")


FILES = {
    "reports/financial-outlook-2026.docx":
        make_docx(OUTLOOK, "Financial outlook 2026", "Mara Lindqvist", "2025-12-11", "Finance"),
    "incidents/port-ansel-ammonia-2025-02.pdf":
        make_pdf(AMMONIA, "Incident report: ammonia leak at Port Ansel, 3 February 2025", "Elena Castellan",
                 "2025-02-27", "Safety"),
}


def main():
    differing = 0
    for name, content in FILES.items():
        path = HERE / name
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_bytes() != content:
                print(f"{name} differs from what make_documents.py writes", file=sys.stderr)
                differing += 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            print(f"{name}: {len(content)} bytes")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
