
*€x€€Bnamed