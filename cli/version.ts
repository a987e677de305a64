/** The version of the program, as in package.json (a test compares them). */
export const VERSION = '0.1.0'
/** The versions of Node that package.json asks for (a test compares them). */
export const ENGINES = '>=20.19 <21 || >=22.12'
