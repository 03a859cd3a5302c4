package schedule

// ZonesOfCultures is the table of cultures.
func ZonesOfCultures() map[string]string { return zones }
