"""Attention of trained models: maps on images, scores against attribute locations, embeddings.

A net has attention if its outputs have (`SubNetOutput.attention_BKR`). Pooled nets have none.
"""
