/** CSV for spreadsheets. Owns quoting; invariant: no cell is a formula, whatever a title from outside says. */
export function csv(rows: readonly (readonly (string | number)[])[]): string {
  return rows.map((row) => row.map(cell).join(',')).join('\r\n')
}
function cell(value: string | number): string {
  if (typeof value === 'number') return String(value)
  // A leading = + - @ tab or CR would be run by a spreadsheet.
  const inert = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert
}
