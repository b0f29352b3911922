"""How far a judge's scores can be trusted."""
