// Add this entry to CSCSummaryHierarchy in love/src/Config.js of LOVE-frontend, Observatory, HigherLevel, after OCPS:2.
// Without it the component has no badge in LOVE's summary of CSCs.
{ name: 'ComCamCalib', salindex: 0 },
