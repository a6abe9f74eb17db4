"""Two configurations compared: which requests get another answer under the new one, and from whom."""
