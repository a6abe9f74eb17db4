"""Two configurations compared: who gets another answer under the new one, and from where."""
